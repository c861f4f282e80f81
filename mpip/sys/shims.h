/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What Rust cannot reach by itself: static inlines, macros and variadic
 * helpers of the kernel, and the entry points that the kernel calls back.
 *
 * This header is all that bindgen reads. Kernel types stay opaque on purpose:
 * Rust code gets at them through these functions, so that a change of a kernel
 * structure is seen by the C compiler. It says where three fields of a packet
 * are that are asked for a dozen times while that passes.
 */
#ifndef _MPIP_SHIMS_H
#define _MPIP_SHIMS_H

#include <linux/types.h>
#include <uapi/linux/mpip.h>

struct sk_buff;
struct spinlock;
struct net;
struct dst_entry;
struct socket;
struct nf_hook_state;
struct netlink_callback;
struct genl_info;
struct nlattr;

/* One direction of a flow: addresses in network order, ports in host order. */
struct mpip_flow {
	u8 family; /* 4 or 6 */
	u8 proto;
	u16 sport;
	u16 dport;
	u8 src[16];
	u8 dst[16];
};

struct mpip_ifaddr {
	u32 ifindex;
	u32 mtu;
	u8 family;
	bool tunnel;
	u8 addr[16];
};

/* A routed way out: a counted reference and its validity cookie. */
struct mpip_dst {
	struct dst_entry *dst;
	u32 cookie;
};

/* What the established socket of a flow knows of its stream. */
struct mpip_stream {
	u32 rcv_nxt;
	u32 snd_una;
	u32 snd_nxt;
};

/* Where in struct sk_buff these fields are. */
struct mpip_skb_at {
	u32 len;
	u32 data_len;
	u32 data;
};

extern const struct mpip_skb_at mpip_skb_at;

/* Where a held packet continues. */
struct mpip_held {
	struct sk_buff *skb;
	void *okfn;
	int ifindex;
};

struct mpip_timer;
struct mpip_work;
struct mpip_bursts;
struct mpip_gate;
struct mpip_hooks;
struct mpip_watch;

enum mpip_shim_csum {
	MPIP_CSUM_NONE,
	MPIP_CSUM_UNNECESSARY,
	MPIP_CSUM_COMPLETE,
	MPIP_CSUM_PARTIAL,
};

/* Contexts, clocks, randomness, memory */
void mpip_shim_lock_bh(struct spinlock *lock);
bool mpip_shim_trylock_bh(struct spinlock *lock);
void mpip_shim_unlock_bh(struct spinlock *lock);
u64 mpip_shim_now_us(void);
void mpip_shim_prefetch(const void *at, size_t len);
u32 mpip_shim_coarse_ms(void);
u64 mpip_shim_boot_ms(void);
u32 mpip_shim_dev_index(struct net *net, const char *name);
bool mpip_shim_dev_name(struct net *net, u32 index, char *name);
bool mpip_shim_dev_bytes(struct net *net, u32 index, u64 *bytes);
u64 mpip_shim_random_u64(void);
void mpip_shim_random_bytes(u8 *buf, size_t len);
void mpip_shim_synchronize_rcu(void);
void mpip_shim_rcu_barrier(void);
void mpip_shim_call_rcu(struct rcu_head *head,
			void (*func)(struct rcu_head *head));
u32 mpip_shim_cpu(void);
void mpip_shim_sleep_ms(u32 ms);
void *mpip_shim_count_new(void);
void mpip_shim_count_free(void *count);
void mpip_shim_count_add(void *count, u64 n);
u64 mpip_shim_count_sum(void *count);

/* Crypto */
u32 mpip_shim_hsiphash(const u8 *key, const u8 *data, size_t len);
u64 mpip_shim_siphash(const u8 *key, const u8 *data, size_t len);
void mpip_shim_blake2s(const u8 *key, const u8 *data, size_t len, u8 *out);
bool mpip_shim_x25519(u8 *out, const u8 *secret, const u8 *point);

/* Packets */
u32 mpip_shim_skb_truesize(const struct sk_buff *skb);
bool mpip_shim_skb_pull(struct sk_buff *skb, u32 len);
bool mpip_shim_skb_writable(struct sk_buff *skb, u32 len);
bool mpip_shim_skb_copy(const struct sk_buff *skb, u32 off, u8 *to, u32 len);
bool mpip_shim_skb_trim(struct sk_buff *skb, u32 len);
u8 *mpip_shim_skb_append(struct sk_buff *skb, u32 len);
u8 mpip_shim_skb_csum(const struct sk_buff *skb);
void mpip_shim_skb_set_csum(struct sk_buff *skb, u8 ip_summed);
bool mpip_shim_skb_csum_help(struct sk_buff *skb);
bool mpip_shim_skb_gso(const struct sk_buff *skb);
u32 mpip_shim_skb_gso_size(const struct sk_buff *skb);
u32 mpip_shim_skb_segs(const struct sk_buff *skb);
u32 mpip_shim_skb_dst_mtu(const struct sk_buff *skb);
bool mpip_shim_skb_get_dst(const struct sk_buff *skb, struct mpip_dst *out);
bool mpip_shim_skb_fits(const struct sk_buff *skb, u32 mtu);
void mpip_shim_skb_free(struct sk_buff *skb);
void mpip_shim_skb_clear_hash(struct sk_buff *skb);
struct sk_buff *mpip_shim_skb_alloc(u32 len);
struct sk_buff *mpip_shim_skb_keep(struct sk_buff *skb);
void mpip_shim_skb_consume(struct sk_buff *skb);
bool mpip_shim_skb_insert(struct sk_buff *skb, u32 at, u32 len);
bool mpip_shim_skb_remove(struct sk_buff *skb, u32 at, u32 len);
bool mpip_shim_skb_set_partial(struct sk_buff *skb, u32 start, u32 offset);
struct sk_buff *mpip_shim_skb_cut(struct sk_buff *skb, u32 size);
struct sk_buff *mpip_shim_skb_segment(struct sk_buff *skb);
bool mpip_shim_skb_receive_apart(struct sk_buff *skb);
struct sk_buff *mpip_shim_skb_next_unlink(struct sk_buff *skb);

/* Hooks */
struct mpip_gate *mpip_shim_gate_new(u32 max_cm);
void mpip_shim_gate_free(struct mpip_gate *gate);
bool mpip_shim_gate_lanes(const struct mpip_gate *gate);
void mpip_shim_gate_count(struct mpip_gate *gate, int tuples, int lanes);
void mpip_shim_gate_riding(struct mpip_gate *gate, bool riding);
void mpip_shim_gate_lent(struct mpip_gate *gate, unsigned int i,
			 const void *sk);
bool mpip_shim_tx_forges(const struct mpip_gate *gate, const struct sk_buff *skb,
			 const struct nf_hook_state *state);
void mpip_shim_gate_port(struct mpip_gate *gate, u16 port);
void mpip_shim_gate_pass(struct mpip_gate *gate, const struct sk_buff *skb,
			 u8 family, bool in);
void mpip_shim_gate_stop(struct mpip_gate *gate, const struct mpip_flow *flow);
struct mpip_hooks *mpip_shim_hooks_wire(struct net *net, struct mpip_gate *gate,
					void *instance);
struct mpip_hooks *mpip_shim_hooks_order(struct net *net, struct mpip_gate *gate);
void mpip_shim_hooks_unregister(struct net *net, struct mpip_hooks *hooks);
bool mpip_shim_tx_eligible(const struct sk_buff *skb,
			   const struct nf_hook_state *state, u32 marks);
bool mpip_shim_rx_eligible(const struct sk_buff *skb,
			   const struct nf_hook_state *state);
bool mpip_shim_rx_before_nat(const struct sk_buff *skb, struct mpip_flow *flow);
bool mpip_shim_is_translated(const struct sk_buff *skb);
bool mpip_shim_tx_user(const struct sk_buff *skb, u32 *uid);
bool mpip_shim_cgroup_known(void);
void *mpip_shim_sock_cgroup(struct sock *sk);
void *mpip_shim_tx_cgroup(const struct sk_buff *skb);
void mpip_shim_cgroup_line(void *cgroup, u64 *ids, u32 max);
void mpip_shim_cgroup_put(void *cgroup);
bool mpip_shim_tx_sent(const struct sk_buff *skb, u32 *una, u32 *nxt);
bool mpip_shim_tx_sack(const struct sk_buff *skb);
void mpip_shim_tx_grow(const struct sk_buff *skb, u32 bytes);
bool mpip_shim_tx_take_back(const struct sk_buff *skb, u32 segs);
void mpip_shim_tx_shrink(const struct sk_buff *skb, u32 part, u32 whole);
void mpip_shim_tx_patience(const struct sk_buff *skb, u32 us);
int mpip_shim_state_in(const struct nf_hook_state *state);
int mpip_shim_state_out(const struct nf_hook_state *state);
bool mpip_shim_hold(struct sk_buff *skb, const struct nf_hook_state *state,
		    struct mpip_held *held);
void mpip_shim_release(struct net *net, struct mpip_held *held);
bool mpip_shim_rx_unwatched(const struct nf_hook_state *state);
bool mpip_shim_join(struct sk_buff *to, struct sk_buff *from, u32 header,
		    u32 size);
bool mpip_shim_is_tracked(const struct sk_buff *skb);
void mpip_shim_pass_on(struct sk_buff *skb, const struct nf_hook_state *state);
bool mpip_shim_rx_csum_ok(struct sk_buff *skb, u32 l4off, u8 proto, u8 family);
bool mpip_shim_rx_route_local(struct sk_buff *skb, u8 family);
bool mpip_shim_rx_route_flow(struct sk_buff *skb, u8 family, void **route,
			     int ifindex);
void mpip_shim_rx_route_forget(void *route);
void mpip_shim_icmp_unreach(struct sk_buff *skb, u8 family);

/* Routes */
bool mpip_shim_route_out(struct net *net, int ifindex,
			 const struct mpip_flow *flow, struct mpip_dst *out);
bool mpip_shim_dst_valid(const struct mpip_dst *dst);
void mpip_shim_dst_put(struct mpip_dst *dst);
u32 mpip_shim_dst_mtu(const struct mpip_dst *dst);
int mpip_shim_dst_ifindex(const struct mpip_dst *dst);
bool mpip_shim_dst_ready(const struct mpip_dst *dst);
bool mpip_shim_skb_ready(const struct sk_buff *skb);
void mpip_shim_dst_solicit(const struct mpip_dst *dst, u8 family,
			   const u8 *daddr);
void mpip_shim_skb_set_dst(struct sk_buff *skb, const struct mpip_dst *dst);
void mpip_shim_skb_xmit(struct net *net, struct sk_buff *skb,
			const struct mpip_dst *dst, u8 family);
bool mpip_shim_skb_enters_tunnel(const struct sk_buff *skb, u32 ifindex);
bool mpip_shim_is_tunnel(struct net *net, u32 ifindex);
int mpip_shim_ifaddrs(struct net *net, struct mpip_ifaddr *out, int max);
bool mpip_shim_addr_alive(struct net *net, u32 ifindex, u8 family,
			  const u8 *addr);
u64 mpip_shim_route_generation(const struct net *net);
struct mpip_watch *mpip_shim_watch_new(struct net *net, void *instance);
void mpip_shim_watch_free(struct net *net, struct mpip_watch *watch);

/* Sockets */
struct socket *mpip_shim_port_reserve(struct net *net, u8 proto, u16 *port);
void mpip_shim_port_release(struct socket *sock);
enum mpip_shim_owner {
	MPIP_OWNER_NONE,
	MPIP_OWNER_OTHER,
	MPIP_OWNER_STREAM,
};

int mpip_shim_tcp_lookup(struct net *net, const struct mpip_flow *flow,
			 int ifindex, struct mpip_stream *stream);
bool mpip_shim_udp_owned(struct net *net, const struct mpip_flow *flow,
			 int ifindex);
bool mpip_shim_addr_is_local(struct net *net, u8 family, const u8 *addr);
/* Of an outgoing @flow, with a reference; for the shims themselves. */
struct sock *mpip_flow_socket(struct net *net, const struct mpip_flow *flow);
bool mpip_shim_sock_lend(struct net *net, const struct mpip_flow *flow,
			 const struct mpip_dst *dst);
/* Sockets at most that may send from an address that has gone. */
#define MPIP_MAX_LENT	16
struct sock *mpip_shim_source_find(struct net *net, const struct mpip_flow *flow);
bool mpip_shim_source_lend(struct sock *sk, int ifindex);
void mpip_shim_source_direct(struct sock *sk, int from, int to);
bool mpip_shim_source_is_free(const struct sock *sk);
bool mpip_shim_source_is_needed(const struct sock *sk);
bool mpip_shim_source_is_open(const struct sock *sk);
void mpip_shim_source_take(struct sock *sk);
void mpip_shim_source_put(struct sock *sk);
bool mpip_shim_flow_owner(struct net *net, const struct mpip_flow *flow,
			  u32 *uid, void **cgroup);
void mpip_shim_sock_ack(struct net *net, const struct mpip_flow *flow);
u32 mpip_shim_sock_credit(struct net *net, const struct mpip_flow *flow,
			  u32 us);
bool mpip_shim_sock_wake(struct net *net, const struct mpip_flow *flow);

/* Timers and work: allocated, so that their addresses never move. */
struct mpip_timer *mpip_shim_timer_new(void *session, bool atomic);
void mpip_shim_timer_start(struct mpip_timer *timer, u32 us);
void mpip_shim_timer_free(struct mpip_timer *timer);
struct mpip_work *mpip_shim_work_new(void *instance);
void mpip_shim_work_kick(struct mpip_work *work, u32 ms);
void mpip_shim_work_free(struct mpip_work *work);

/* What is done after a burst of packets, by the processor that it came to. */
struct mpip_bursts *mpip_shim_bursts_new(void);
bool mpip_shim_bursts_add(struct mpip_bursts *bursts, void *instance,
			  void *session);
void mpip_shim_bursts_flush(struct mpip_bursts *bursts);
void mpip_shim_bursts_free(struct mpip_bursts *bursts);

/* Network namespaces and generic netlink */
int mpip_shim_work_init(void);
void mpip_shim_work_exit(void);
int mpip_shim_pernet_register(void);
void mpip_shim_pernet_unregister(void);
void *mpip_shim_pernet_get(struct net *net);
void mpip_shim_pernet_set(struct net *net, void *ns);
bool mpip_shim_net_is_init(const struct net *net);
int mpip_shim_genl_register(void);
void mpip_shim_genl_unregister(void);
struct net *mpip_shim_info_net(const struct genl_info *info);
struct nlattr *mpip_shim_info_attr(const struct genl_info *info, int attr);
void mpip_shim_info_fail(struct genl_info *info, const char *msg, int attr);
void *mpip_shim_info_reply(struct genl_info *info, u8 cmd,
			   struct sk_buff **skb);
int mpip_shim_info_send(struct genl_info *info, struct sk_buff *skb, void *hdr);
struct net *mpip_shim_cb_net(struct netlink_callback *cb, struct sk_buff *skb);
long *mpip_shim_cb_ctx(struct netlink_callback *cb);
void mpip_shim_cb_seq(struct netlink_callback *cb, u32 seq);
void *mpip_shim_dump_begin(struct sk_buff *skb, struct netlink_callback *cb,
			   u8 cmd);
void mpip_shim_msg_end(struct sk_buff *skb, void *hdr);
void mpip_shim_msg_cancel(struct sk_buff *skb, void *hdr);
bool mpip_shim_event_wanted(struct net *net);
void *mpip_shim_event_new(u32 len, u8 cmd, struct sk_buff **skb);
void mpip_shim_event_send(struct net *net, struct sk_buff *skb, void *hdr);
void mpip_shim_event_lost(struct net *net);
int mpip_shim_nla_put(struct sk_buff *skb, int attr, int len, const void *data);
void *mpip_shim_nest_start(struct sk_buff *skb, int attr);
void mpip_shim_nest_end(struct sk_buff *skb, void *nest);
u32 mpip_shim_nla_len(const struct nlattr *nla);
const u8 *mpip_shim_nla_data(const struct nlattr *nla);

/* Implemented in Rust; each says there what it may assume. */
unsigned int mpip_rs_post_routing(void *instance, struct sk_buff *skb,
				  const struct nf_hook_state *state, u8 family);
unsigned int mpip_rs_pre_routing(void *instance, struct sk_buff *skb,
				 const struct nf_hook_state *state, u8 family);
unsigned int mpip_rs_local_in(void *instance, struct sk_buff *skb,
			      const struct nf_hook_state *state, u8 family);
void mpip_rs_timer(void *session);
void mpip_rs_work(void *instance);
void mpip_rs_burst_over(void *instance, void *session);
void mpip_rs_changed(void *instance);
int mpip_rs_net_init(struct net *net);
void mpip_rs_net_pre_exit(struct net *net);
void mpip_rs_net_exit(struct net *net);

#ifdef CONFIG_MPIP_KUNIT_TEST
#include "testing.h"
#endif

#endif /* _MPIP_SHIMS_H */
