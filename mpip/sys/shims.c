// SPDX-License-Identifier: GPL-2.0
/*
 * Shims over kernel inlines and macros. No decision of the protocol is made
 * here: each function does one thing that Rust cannot express.
 */
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/if_vlan.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/math64.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/unaligned.h>
#include <linux/workqueue.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/genetlink.h>
#include <net/gso.h>
#include <net/icmp.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netfilter/nf_queue.h>
#include <net/netns/generic.h>
#include <net/route.h>
#include <net/tcp.h>
#include <net/udp.h>
#include <crypto/blake2s.h>
#include <crypto/curve25519.h>

#include "shims.h"
#include "../uapi/netlink_gen.h"

/* Contexts, clocks, randomness, memory */

void mpip_shim_bh_disable(void)
{
	local_bh_disable();
}

void mpip_shim_bh_enable(void)
{
	local_bh_enable();
}

u64 mpip_shim_now_us(void)
{
	return ktime_to_us(ktime_get());
}

void mpip_shim_prefetch(const void *at, size_t len)
{
	prefetch_range((void *)at, len);
}

u32 mpip_shim_coarse_ms(void)
{
	return ktime_to_ms(ktime_get_coarse());
}

u64 mpip_shim_random_u64(void)
{
	return get_random_u64();
}

void mpip_shim_random_bytes(u8 *buf, size_t len)
{
	get_random_bytes(buf, len);
}

void mpip_shim_synchronize_rcu(void)
{
	synchronize_net();
}

void mpip_shim_rcu_barrier(void)
{
	rcu_barrier();
}

void mpip_shim_call_rcu(struct rcu_head *head,
			void (*func)(struct rcu_head *head))
{
	/* The table's nodes start with room for one. */
	BUILD_BUG_ON(sizeof(struct rcu_head) != 2 * sizeof(void *));
	call_rcu(head, func);
}

u32 mpip_shim_cpu(void)
{
	return raw_smp_processor_id();
}

void mpip_shim_sleep_ms(u32 ms)
{
	msleep(ms);
}

/* Crypto */

u64 mpip_shim_siphash(const u8 *key, const u8 *data, size_t len)
{
	/* The key is bytes on the wire's side: the same on every host. */
	siphash_key_t k = { {
		get_unaligned_le64(key),
		get_unaligned_le64(key + 8),
	} };

	return siphash(data, len, &k);
}

/* For tables: only the length of their chains depends on it. */
u32 mpip_shim_hsiphash(const u8 *key, const u8 *data, size_t len)
{
	hsiphash_key_t k;

	memcpy(&k, key, sizeof(k));
	return hsiphash(data, len, &k);
}

void mpip_shim_blake2s(const u8 *key, const u8 *data, size_t len, u8 *out)
{
	blake2s(key, BLAKE2S_KEY_SIZE, data, len, out, BLAKE2S_HASH_SIZE);
}

bool mpip_shim_x25519(u8 *out, const u8 *secret, const u8 *point)
{
	return curve25519(out, secret, point);
}

/* Packets */

u8 *mpip_shim_skb_data(const struct sk_buff *skb)
{
	return skb->data;
}

u32 mpip_shim_skb_len(const struct sk_buff *skb)
{
	return skb->len;
}

u32 mpip_shim_skb_headlen(const struct sk_buff *skb)
{
	return skb_headlen(skb);
}

u32 mpip_shim_skb_truesize(const struct sk_buff *skb)
{
	return skb->truesize;
}

bool mpip_shim_skb_pull(struct sk_buff *skb, u32 len)
{
	return pskb_may_pull(skb, len);
}

bool mpip_shim_skb_writable(struct sk_buff *skb, u32 len)
{
	return !skb_ensure_writable(skb, len);
}

bool mpip_shim_skb_copy(const struct sk_buff *skb, u32 off, u8 *to, u32 len)
{
	return !skb_copy_bits(skb, off, to, len);
}

bool mpip_shim_skb_trim(struct sk_buff *skb, u32 len)
{
	return !pskb_trim_rcsum(skb, len);
}

/*
 * Room for @len bytes at the end, written by the caller. Linear only: the
 * packets that get something appended are small or just been segmented.
 */
u8 *mpip_shim_skb_append(struct sk_buff *skb, u32 len)
{
	int need = (int)len - skb_tailroom(skb);

	if (skb_is_nonlinear(skb) && __skb_linearize(skb))
		return NULL;
	need = (int)len - skb_tailroom(skb);
	if (skb_cloned(skb) || need > 0) {
		if (pskb_expand_head(skb, 0, max(need, 0), GFP_ATOMIC))
			return NULL;
	}
	return skb_put(skb, len);
}

u8 mpip_shim_skb_csum(const struct sk_buff *skb)
{
	BUILD_BUG_ON((int)MPIP_CSUM_NONE != CHECKSUM_NONE);
	BUILD_BUG_ON((int)MPIP_CSUM_UNNECESSARY != CHECKSUM_UNNECESSARY);
	BUILD_BUG_ON((int)MPIP_CSUM_COMPLETE != CHECKSUM_COMPLETE);
	BUILD_BUG_ON((int)MPIP_CSUM_PARTIAL != CHECKSUM_PARTIAL);
	return skb->ip_summed;
}

void mpip_shim_skb_set_csum(struct sk_buff *skb, u8 ip_summed)
{
	skb->ip_summed = ip_summed;
	if (ip_summed == CHECKSUM_UNNECESSARY)
		skb->csum_level = 0;
}

bool mpip_shim_skb_csum_help(struct sk_buff *skb)
{
	return skb->ip_summed != CHECKSUM_PARTIAL || !skb_checksum_help(skb);
}

bool mpip_shim_skb_gso(const struct sk_buff *skb)
{
	return skb_is_gso(skb);
}

u32 mpip_shim_skb_gso_size(const struct sk_buff *skb)
{
	return skb_shinfo(skb)->gso_size;
}

u32 mpip_shim_skb_segs(const struct sk_buff *skb)
{
	return max_t(u32, skb_shinfo(skb)->gso_segs, 1);
}

u32 mpip_shim_skb_dst_mtu(const struct sk_buff *skb)
{
	return skb_dst(skb) ? dst_mtu(skb_dst(skb)) : 0;
}

bool mpip_shim_skb_get_dst(const struct sk_buff *skb, struct mpip_dst *out)
{
	out->dst = skb_dst(skb);
	out->cookie = 0;
	return out->dst && dst_hold_safe(out->dst);
}

bool mpip_shim_skb_fits(const struct sk_buff *skb, u32 mtu)
{
	if (skb_is_gso(skb))
		return skb_gso_validate_network_len(skb, mtu);
	return skb->len <= mtu;
}

void mpip_shim_skb_free(struct sk_buff *skb)
{
	kfree_skb(skb);
}

void mpip_shim_skb_clear_hash(struct sk_buff *skb)
{
	skb_clear_hash(skb);
}

/* A linear packet of @len bytes with room for the link header. */
struct sk_buff *mpip_shim_skb_alloc(u32 len)
{
	struct sk_buff *skb = alloc_skb(MAX_HEADER + len, GFP_ATOMIC);

	if (!skb)
		return NULL;
	skb_reserve(skb, MAX_HEADER);
	skb_put_zero(skb, len);
	skb_reset_network_header(skb);
	return skb;
}

/*
 * A copy that shares the data with @skb and pins nothing else: no route, no
 * conntrack, no device. TCP may send its own again meanwhile.
 */
struct sk_buff *mpip_shim_skb_keep(struct sk_buff *skb)
{
	struct sk_buff *kept = skb_clone(skb, GFP_ATOMIC | __GFP_NOWARN);

	if (!kept)
		return NULL;
	skb_dst_drop(kept);
	nf_reset_ct(kept);
	skb_ext_reset(kept);
	kept->dev = NULL;
	return kept;
}

void mpip_shim_skb_consume(struct sk_buff *skb)
{
	consume_skb(skb);
}

/*
 * Room for @len bytes behind the first @at, which move forward. Not for GSO
 * packets.
 */
bool mpip_shim_skb_insert(struct sk_buff *skb, u32 at, u32 len)
{
	unsigned int headroom = len;

	if (skb_dst(skb))
		headroom += LL_RESERVED_SPACE(skb_dst(skb)->dev);
	if (!pskb_may_pull(skb, at) || skb_cow_head(skb, headroom))
		return false;
	skb_push(skb, len);
	memmove(skb->data, skb->data + len, at);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, at);
	return true;
}

/* Takes @len bytes behind the first @at away. */
bool mpip_shim_skb_remove(struct sk_buff *skb, u32 at, u32 len)
{
	if (!pskb_may_pull(skb, at + len) || skb_ensure_writable(skb, at + len))
		return false;
	memmove(skb->data + len, skb->data, at);
	__skb_pull(skb, len);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, at);
	return true;
}

/* The checksum at @start + @offset, which has its seed, is to be completed. */
bool mpip_shim_skb_set_partial(struct sk_buff *skb, u32 start, u32 offset)
{
	return skb_partial_csum_set(skb, start, offset);
}

/*
 * Cut a TCP packet into segments of at most @size bytes of data, whatever it
 * was meant to be cut into. The caller keeps @skb whatever the outcome.
 */
struct sk_buff *mpip_shim_skb_cut(struct sk_buff *skb, u32 size)
{
	struct skb_shared_info *info;
	struct sk_buff *segs;
	u32 header, data;

	if (skb->ip_summed != CHECKSUM_PARTIAL ||
	    skb_cow_head(skb, 0))
		return NULL;
	header = skb_checksum_start_offset(skb) +
		 __tcp_hdrlen((struct tcphdr *)(skb->data +
						skb_checksum_start_offset(skb)));
	if (skb->len <= header || !size)
		return NULL;
	data = skb->len - header;
	info = skb_shinfo(skb);
	if (!info->gso_size || info->gso_size > size) {
		/* Its own info: the data may be shared with a clone. */
		if (skb_unclone(skb, GFP_ATOMIC))
			return NULL;
		info = skb_shinfo(skb);
		if (!info->gso_size)
			info->gso_type = skb->protocol == htons(ETH_P_IP) ?
						 SKB_GSO_TCPV4 :
						 SKB_GSO_TCPV6;
		info->gso_size = size;
		info->gso_segs = DIV_ROUND_UP(data, size);
	}
	segs = skb_gso_segment(skb, NETIF_F_SG | NETIF_F_HW_CSUM);
	return IS_ERR(segs) ? NULL : segs;
}

/* Software segmentation; the caller keeps @skb whatever the outcome. */
struct sk_buff *mpip_shim_skb_segment(struct sk_buff *skb)
{
	struct sk_buff *segs = skb_gso_segment(skb, 0);

	return IS_ERR(segs) ? NULL : segs;
}

struct sk_buff *mpip_shim_skb_next_unlink(struct sk_buff *skb)
{
	struct sk_buff *next = skb->next;

	skb_mark_not_on_list(skb);
	return next;
}

/* Hooks */

/* Outside conntrack (-200) and NAT (+-100), after defragmentation (-400). */
#define MPIP_PRI_PRE_ROUTING	(-399)
#define MPIP_PRI_POST_ROUTING	(200)
/* After the filter; conntrack's confirmation is at INT_MAX. */
#define MPIP_PRI_LOCAL_IN	(INT_MAX)

#define GATE_SLOTS	1024
/* How long a slot is believed, jiffies. */
#define GATE_LIFE	max(HZ / 16, 1)
/* The part of a slot that is time, the rest is hash. */
#define GATE_TIME	0xffffffULL

/*
 * What the hooks look at before they call into Rust. A slot says that Rust has
 * just had nothing to do with packets of one flow in one direction; it holds
 * enough of a keyed hash that nobody meets another flow's.
 */
struct mpip_gate {
	void *instance;
	u64 key[2];
	u32 max_cm;
	__be16 own_port;
	bool riding;
	atomic_t tuples;
	atomic_t lanes;
	u64 slots[GATE_SLOTS];
};

struct mpip_gate *mpip_shim_gate_new(u32 max_cm)
{
	struct mpip_gate *gate = kvzalloc(sizeof(*gate), GFP_KERNEL);

	if (!gate)
		return NULL;
	get_random_bytes(gate->key, sizeof(gate->key));
	gate->max_cm = max_cm;
	return gate;
}

void mpip_shim_gate_free(struct mpip_gate *gate)
{
	kvfree(gate);
}

/* So many more (or fewer) tuples, and among them those of added lanes. */
void mpip_shim_gate_count(struct mpip_gate *gate, int tuples, int lanes)
{
	atomic_add(tuples, &gate->tuples);
	atomic_add(lanes, &gate->lanes);
}

/* Datagrams may have to take something along. */
void mpip_shim_gate_riding(struct mpip_gate *gate, bool riding)
{
	WRITE_ONCE(gate->riding, riding);
}

void mpip_shim_gate_port(struct mpip_gate *gate, u16 port)
{
	WRITE_ONCE(gate->own_port, htons(port));
}

static __always_inline u64 gate_mix(u64 a, u64 b)
{
	return (a * b) ^ mul_u64_u64_shr(a, b, 64);
}

static __always_inline u64 gate_hash4(const struct mpip_gate *gate, bool in,
				      u8 proto, const void *addrs, u32 ports)
{
	u64 rest = ports | (u64)proto << 32 | (u64)in << 40;

	return gate_mix(get_unaligned((const u64 *)addrs) ^ gate->key[0],
			rest ^ gate->key[1]);
}

static __always_inline u64 gate_hash6(const struct mpip_gate *gate, bool in,
				      u8 proto, const void *addrs, u32 ports)
{
	u64 rest = ports | (u64)proto << 32 | (u64)in << 40;
	const u64 *a = addrs;
	u64 h;

	h = gate_mix(get_unaligned(a) ^ gate->key[0],
		     get_unaligned(a + 1) ^ gate->key[1]);
	h = gate_mix(get_unaligned(a + 2) ^ gate->key[0] ^ h,
		     get_unaligned(a + 3) ^ gate->key[1]);
	return gate_mix(h ^ gate->key[0], rest ^ gate->key[1]);
}

static __always_inline bool gate_knows(const struct mpip_gate *gate, u64 hash)
{
	u64 slot = READ_ONCE(gate->slots[hash % GATE_SLOTS]);

	return !((slot ^ hash) & ~GATE_TIME) &&
	       (((u64)jiffies - slot) & GATE_TIME) < GATE_LIFE;
}

/*
 * The hash of a plain packet whose headers are linear, up to TCP's flags.
 * False if it is not one. For others than TCP and UDP there is none, and
 * *@proto tells.
 */
static __always_inline bool gate_hash(const struct mpip_gate *gate, bool in,
				      const struct sk_buff *skb, u8 family,
				      u8 *proto, const u8 **l4, u64 *hash)
{
	const u8 *data = skb->data;
	u32 header = family == 4 ? 20 : 40;
	u32 linear = skb_headlen(skb);

	if (unlikely(linear < header))
		return false;
	*proto = family == 4 ? data[9] : data[6];
	*l4 = data + header;
	if (*proto != IPPROTO_UDP && *proto != IPPROTO_TCP)
		return true;
	if (unlikely(linear < header + (*proto == IPPROTO_UDP ? 8 : 20)))
		return false;
	if (family == 4) {
		const struct iphdr *iph = (const struct iphdr *)data;

		if (unlikely(data[0] != 0x45 ||
			     iph->frag_off & htons(IP_MF | IP_OFFSET)))
			return false;
		*hash = gate_hash4(gate, in, *proto, &iph->saddr,
				   get_unaligned((const u32 *)*l4));
	} else {
		*hash = gate_hash6(gate, in, *proto, data + 8,
				   get_unaligned((const u32 *)*l4));
	}
	return true;
}

/* Whether an outgoing packet is none that Rust has to see. */
static __always_inline bool gate_lets_out(const struct mpip_gate *gate,
					  const struct sk_buff *skb, u8 family)
{
	const u8 *l4;
	u64 hash;
	u8 proto;

	if (!gate_hash(gate, false, skb, family, &proto, &l4, &hash))
		return false;
	if (proto == IPPROTO_TCP) {
		if (((const struct tcphdr *)l4)->syn)
			return false;
	} else if (proto == IPPROTO_UDP) {
		if (READ_ONCE(gate->riding))
			return false;
	} else {
		return true;
	}
	return gate_knows(gate, hash);
}

/*
 * The same for an incoming one: neither part of a session, nor of a form that
 * a message of a stranger can have.
 */
static __always_inline bool gate_lets_in(const struct mpip_gate *gate,
					 const struct sk_buff *skb, u8 family)
{
	u32 header = family == 4 ? 20 : 40;
	const u8 *l4;
	u64 hash;
	u8 proto;

	if (!gate_hash(gate, true, skb, family, &proto, &l4, &hash))
		return false;
	if (proto == IPPROTO_UDP) {
		const struct udphdr *uh = (const struct udphdr *)l4;

		if (ntohs(uh->len) + header != skb->len ||
		    uh->dest == READ_ONCE(gate->own_port))
			return false;
	} else if (proto == IPPROTO_TCP) {
		const struct tcphdr *th = (const struct tcphdr *)l4;
		u32 payload = skb->len - header - th->doff * 4;

		if (th->syn || (payload && payload <= gate->max_cm))
			return false;
	} else {
		/* ICMP errors about lanes. */
		return !atomic_read(&gate->lanes);
	}
	return !atomic_read(&gate->tuples) || gate_knows(gate, hash);
}

/* For a moment Rust need not see packets like this one. */
void mpip_shim_gate_pass(struct mpip_gate *gate, const struct sk_buff *skb,
			 u8 family, bool in)
{
	const u8 *l4;
	u64 hash;
	u8 proto;

	if (!gate_hash(gate, in, skb, family, &proto, &l4, &hash) ||
	    (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return;
	WRITE_ONCE(gate->slots[hash % GATE_SLOTS],
		   (hash & ~GATE_TIME) | ((u64)jiffies & GATE_TIME));
}

/* Rust has to see the packets of @flow again, in both directions. */
void mpip_shim_gate_stop(struct mpip_gate *gate, const struct mpip_flow *flow)
{
	__be16 ports[2][2] = {
		{ htons(flow->sport), htons(flow->dport) },
		{ htons(flow->dport), htons(flow->sport) },
	};
	bool v4 = flow->family == 4;
	size_t len = v4 ? 4 : 16;
	u8 addrs[32];
	u64 hash;
	u32 p;
	int in;

	for (in = 0; in < 2; in++) {
		memcpy(addrs, in ? flow->dst : flow->src, len);
		memcpy(addrs + len, in ? flow->src : flow->dst, len);
		memcpy(&p, ports[in], sizeof(p));
		hash = v4 ? gate_hash4(gate, in, flow->proto, addrs, p) :
			    gate_hash6(gate, in, flow->proto, addrs, p);
		if (gate_knows(gate, hash))
			WRITE_ONCE(gate->slots[hash % GATE_SLOTS], 0);
	}
}

static unsigned int hook_out4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (gate_lets_out(gate, skb, 4))
		return NF_ACCEPT;
	return mpip_rs_post_routing(gate->instance, skb, state, 4);
}

static unsigned int hook_out6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (gate_lets_out(gate, skb, 6))
		return NF_ACCEPT;
	return mpip_rs_post_routing(gate->instance, skb, state, 6);
}

static unsigned int hook_pre4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (gate_lets_in(gate, skb, 4))
		return NF_ACCEPT;
	return mpip_rs_pre_routing(gate->instance, skb, state, 4);
}

static unsigned int hook_pre6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (gate_lets_in(gate, skb, 6))
		return NF_ACCEPT;
	return mpip_rs_pre_routing(gate->instance, skb, state, 6);
}

/* Without added lanes everything is in order. */
static unsigned int hook_in4(void *priv, struct sk_buff *skb,
			     const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (!atomic_read(&gate->lanes) || ip_hdr(skb)->protocol != IPPROTO_TCP)
		return NF_ACCEPT;
	return mpip_rs_local_in(gate->instance, skb, state, 4);
}

static unsigned int hook_in6(void *priv, struct sk_buff *skb,
			     const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (!atomic_read(&gate->lanes))
		return NF_ACCEPT;
	return mpip_rs_local_in(gate->instance, skb, state, 6);
}

static const struct nf_hook_ops hook_template[] = {
	{ .hook = hook_pre4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_PRE_ROUTING, .priority = MPIP_PRI_PRE_ROUTING },
	{ .hook = hook_in4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_LOCAL_IN, .priority = MPIP_PRI_LOCAL_IN },
	{ .hook = hook_out4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_POST_ROUTING, .priority = MPIP_PRI_POST_ROUTING },
	{ .hook = hook_pre6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_PRE_ROUTING, .priority = MPIP_PRI_PRE_ROUTING },
	{ .hook = hook_in6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_LOCAL_IN, .priority = MPIP_PRI_LOCAL_IN },
	{ .hook = hook_out6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_POST_ROUTING, .priority = MPIP_PRI_POST_ROUTING },
};

struct mpip_hooks {
	struct nf_hook_ops ops[ARRAY_SIZE(hook_template)];
};

struct mpip_hooks *mpip_shim_hooks_register(struct net *net,
					    struct mpip_gate *gate,
					    void *instance)
{
	struct mpip_hooks *hooks = kmalloc(sizeof(*hooks), GFP_KERNEL);
	int i;

	if (!hooks)
		return NULL;
	gate->instance = instance;
	memcpy(hooks->ops, hook_template, sizeof(hook_template));
	for (i = 0; i < ARRAY_SIZE(hook_template); i++)
		hooks->ops[i].priv = gate;
	if (nf_register_net_hooks(net, hooks->ops, ARRAY_SIZE(hooks->ops))) {
		kfree(hooks);
		return NULL;
	}
	return hooks;
}

/* Returns when no hook runs any more. */
void mpip_shim_hooks_unregister(struct net *net, struct mpip_hooks *hooks)
{
	nf_unregister_net_hooks(net, hooks->ops, ARRAY_SIZE(hooks->ops));
	synchronize_net();
	kfree(hooks);
}

/*
 * May this outgoing packet be looked at? Not what is forwarded, tunnelled or
 * transformed, nor what a person has steered by mark, device or VRF.
 */
bool mpip_shim_tx_eligible(const struct sk_buff *skb,
			   const struct nf_hook_state *state)
{
	const struct net_device *out = state->out;
	const struct dst_entry *dst = skb_dst(skb);
	const struct sock *sk = skb->sk;

	/* What came in by an interface is passing through. */
	if (!dst || dst_xfrm(dst) || skb->mark || skb->encapsulation ||
	    skb->skb_iif)
		return false;
	if (!out || out->flags & IFF_LOOPBACK)
		return false;
	if (netif_is_l3_master(out) || netif_is_l3_slave(out))
		return false;
	if (sk && sk->sk_bound_dev_if)
		return false;
	if (!skb_frags_readable(skb) || skb_is_decrypted(skb))
		return false;
	if (skb->protocol == htons(ETH_P_IP)) {
		if (IPCB(skb)->flags & (IPSKB_FORWARDED | IPSKB_XFRM_TRANSFORMED))
			return false;
		if (skb_rtable(skb)->rt_flags &
		    (RTCF_BROADCAST | RTCF_MULTICAST | RTCF_LOCAL))
			return false;
	} else if (skb->protocol == htons(ETH_P_IPV6)) {
		if (IP6CB(skb)->flags & (IP6SKB_FORWARDED | IP6SKB_XFRM_TRANSFORMED))
			return false;
	} else {
		return false;
	}
	return true;
}

bool mpip_shim_rx_eligible(const struct sk_buff *skb,
			   const struct nf_hook_state *state)
{
	const struct net_device *in = state->in;

	return skb->pkt_type == PACKET_HOST && !skb_dst(skb) && !skb->sk &&
	       in && !(in->flags & IFF_LOOPBACK) && !netif_is_l3_master(in) &&
	       !netif_is_l3_slave(in) && skb_frags_readable(skb);
}

/* The oldest unacknowledged sequence number of the packet's own socket. */
bool mpip_shim_tx_una(const struct sk_buff *skb, u32 *una)
{
	const struct sock *sk = skb->sk;

	if (!sk || !sk_fullsock(sk) || sk->sk_protocol != IPPROTO_TCP)
		return false;
	if ((1 << READ_ONCE(sk->sk_state)) &
	    (TCPF_LISTEN | TCPF_SYN_SENT | TCPF_SYN_RECV | TCPF_CLOSE))
		return false;
	*una = READ_ONCE(tcp_sk(sk)->snd_una);
	return true;
}

/*
 * The packet's own TCP socket, if it may be changed. TCP sends with its socket
 * locked; where it is not, because a packet was queued on its way to the hook,
 * nothing is touched.
 */
static struct tcp_sock *tx_locked_tcp(const struct sk_buff *skb)
{
	struct sock *sk = skb->sk;

	if (!sk || !sk_fullsock(sk) || sk->sk_protocol != IPPROTO_TCP ||
	    !(sock_owned_by_user_nocheck(sk) ||
	      spin_is_locked(&sk->sk_lock.slock)))
		return NULL;
	return tcp_sk(sk);
}

/* Raise the slow start threshold a quarter above the window. */
void mpip_shim_tx_grow(const struct sk_buff *skb)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	u32 want;

	if (!tp || inet_csk(skb->sk)->icsk_ca_state != TCP_CA_Open)
		return;
	want = tcp_snd_cwnd(tp) + tcp_snd_cwnd(tp) / 4;
	if (tp->snd_ssthresh < want)
		tp->snd_ssthresh = want;
}

/* Make the window smaller, to @part of @whole. */
void mpip_shim_tx_shrink(const struct sk_buff *skb, u32 part, u32 whole)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	u32 cwnd;

	if (!tp || !whole || part >= whole)
		return;
	cwnd = max_t(u32, div_u64((u64)tcp_snd_cwnd(tp) * part, whole), 4);
	if (cwnd < tcp_snd_cwnd(tp))
		tcp_snd_cwnd_set(tp, cwnd);
	tp->snd_ssthresh = min(tp->snd_ssthresh, cwnd);
}

int mpip_shim_state_in(const struct nf_hook_state *state)
{
	return state->in ? state->in->ifindex : 0;
}

int mpip_shim_state_out(const struct nf_hook_state *state)
{
	return state->out ? state->out->ifindex : 0;
}

/*
 * Make @skb fit to be kept beyond the hook. It gives up what would pin other
 * objects: conntrack (a dying namespace waits for it) and user pages.
 */
bool mpip_shim_hold(struct sk_buff *skb, const struct nf_hook_state *state,
		    struct mpip_held *held)
{
	if (!skb_dst_force(skb) || skb_orphan_frags_rx(skb, GFP_ATOMIC))
		return false;
	nf_reset_ct(skb);
	held->skb = skb;
	held->okfn = (void *)state->okfn;
	held->ifindex = skb->dev->ifindex;
	return true;
}

/* Hand a held packet to the transport, as the hook's caller would have. */
void mpip_shim_release(struct net *net, struct mpip_held *held)
{
	int (*okfn)(struct net *, struct sock *, struct sk_buff *) = held->okfn;
	struct sk_buff *skb = held->skb;

	rcu_read_lock();
	local_bh_disable();
	if (dev_get_by_index_rcu(net, held->ifindex) == skb->dev)
		okfn(net, NULL, skb);
	else
		kfree_skb(skb);
	local_bh_enable();
	rcu_read_unlock();
}

bool mpip_shim_rx_csum_ok(struct sk_buff *skb, u32 l4off, u8 proto, u8 family)
{
	return !nf_checksum(skb, NF_INET_PRE_ROUTING, l4off, proto,
			    family == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6);
}

/* Decide the route on the header as it stands; true when it ends here. */
bool mpip_shim_rx_route_local(struct sk_buff *skb, u8 family)
{
	if (family == 4) {
		const struct iphdr *iph = ip_hdr(skb);

		return !ip_route_input_noref(skb, iph->daddr, iph->saddr,
					     ip4h_dscp(iph), skb->dev) &&
		       skb_rtable(skb)->rt_type == RTN_LOCAL;
	}
	ip6_route_input(skb);
	return !skb_dst(skb)->error &&
	       (dst_rt6_info(skb_dst(skb))->rt6i_flags & RTF_LOCAL);
}

void mpip_shim_icmp_unreach(struct sk_buff *skb, u8 family)
{
	if (family == 4)
		icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
	else
		icmpv6_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
}

/* Routes */

static bool route_out4(struct net *net, int ifindex,
		       const struct mpip_flow *flow, struct mpip_dst *out)
{
	struct flowi4 fl4 = {
		.flowi4_oif = ifindex,
		.flowi4_iif = LOOPBACK_IFINDEX,
		.flowi4_proto = flow->proto,
		.fl4_sport = htons(flow->sport),
		.fl4_dport = htons(flow->dport),
	};
	struct rtable *rt;

	memcpy(&fl4.saddr, flow->src, sizeof(fl4.saddr));
	memcpy(&fl4.daddr, flow->dst, sizeof(fl4.daddr));
	if (ifindex) {
		/*
		 * Without a route the output lookup takes the destination for
		 * on-link; ask the tables first.
		 */
		struct fib_result res;
		bool ok;

		rcu_read_lock();
		ok = !fib_lookup(net, &fl4, &res, 0) && res.type == RTN_UNICAST;
		rcu_read_unlock();
		if (!ok)
			return false;
	}
	rt = ip_route_output_flow(net, &fl4, NULL);
	if (IS_ERR(rt))
		return false;
	if (rt->rt_type != RTN_UNICAST || dst_xfrm(&rt->dst) ||
	    (ifindex && rt->dst.dev->ifindex != ifindex)) {
		ip_rt_put(rt);
		return false;
	}
	out->dst = &rt->dst;
	out->cookie = 0;
	return true;
}

static bool route_out6(struct net *net, int ifindex,
		       const struct mpip_flow *flow, struct mpip_dst *out)
{
	struct flowi6 fl6 = {
		.flowi6_oif = ifindex,
		.flowi6_proto = flow->proto,
		.fl6_sport = htons(flow->sport),
		.fl6_dport = htons(flow->dport),
	};
	struct dst_entry *dst;

	memcpy(&fl6.saddr, flow->src, sizeof(fl6.saddr));
	memcpy(&fl6.daddr, flow->dst, sizeof(fl6.daddr));
	dst = ip6_route_output_flags(net, NULL, &fl6,
				     ifindex ? RT6_LOOKUP_F_IFACE : 0);
	if (!dst->error) {
		/* The lookup alone knows nothing of IPsec policies. */
		dst = xfrm_lookup_route(net, dst, flowi6_to_flowi(&fl6), NULL, 0);
		if (IS_ERR(dst))
			return false;
	}
	if (dst->error || dst_xfrm(dst) || dst->dev->flags & IFF_LOOPBACK ||
	    (ifindex && dst->dev->ifindex != ifindex)) {
		dst_release(dst);
		return false;
	}
	out->dst = dst;
	out->cookie = rt6_get_cookie(dst_rt6_info(dst));
	return true;
}

/* The way from flow->src to flow->dst; through @ifindex alone unless 0. */
bool mpip_shim_route_out(struct net *net, int ifindex,
			 const struct mpip_flow *flow, struct mpip_dst *out)
{
	return flow->family == 4 ? route_out4(net, ifindex, flow, out) :
				   route_out6(net, ifindex, flow, out);
}

bool mpip_shim_dst_valid(const struct mpip_dst *dst)
{
	return dst_check(dst->dst, dst->cookie);
}

void mpip_shim_dst_put(struct mpip_dst *dst)
{
	dst_release(dst->dst);
}

u32 mpip_shim_dst_mtu(const struct mpip_dst *dst)
{
	return dst_mtu(dst->dst);
}

int mpip_shim_dst_ifindex(const struct mpip_dst *dst)
{
	return dst->dst->dev->ifindex;
}

void mpip_shim_skb_set_dst(struct sk_buff *skb, const struct mpip_dst *dst)
{
	skb_dst_drop(skb);
	dst_hold(dst->dst);
	skb_dst_set(skb, dst->dst);
	skb->dev = dst->dst->dev;
}

/* Whether the route's device carries packets. */
bool mpip_shim_dst_ready(const struct mpip_dst *dst)
{
	return netif_running(dst->dst->dev) && netif_carrier_ok(dst->dst->dev);
}

bool mpip_shim_skb_ready(const struct sk_buff *skb)
{
	return netif_running(skb->dev) && netif_carrier_ok(skb->dev);
}

/*
 * If the next hop's link address is being asked for, ask again now and not in
 * a second: that question may have been lost with the link.
 */
void mpip_shim_dst_solicit(const struct mpip_dst *dst, u8 family,
			   const u8 *daddr)
{
	struct neighbour *n = dst_neigh_lookup(dst->dst, daddr);

	if (!n)
		return;
	if (READ_ONCE(n->nud_state) & NUD_INCOMPLETE)
		n->ops->solicit(n, NULL);
	neigh_release(n);
}

/* Send a packet of our own, past the hooks. Consumes @skb. */
void mpip_shim_skb_xmit(struct net *net, struct sk_buff *skb,
			const struct mpip_dst *dst, u8 family)
{
	/* A segment comes with a reference of its own. */
	skb_dst_drop(skb);
	dst_hold(dst->dst);
	skb_dst_set(skb, dst->dst);
	skb->dev = dst->dst->dev;
	memset(skb->cb, 0, sizeof(skb->cb));
	if (family == 4) {
		skb->protocol = htons(ETH_P_IP);
		skb_set_transport_header(skb, ip_hdrlen(skb));
		IPCB(skb)->flags = IPSKB_REROUTED;
	} else {
		skb->protocol = htons(ETH_P_IPV6);
		skb_set_transport_header(skb, sizeof(struct ipv6hdr));
		IP6CB(skb)->flags = IP6SKB_REROUTED;
	}
	dst_output(net, NULL, skb);
}

/* Usable addresses of the namespace: global, preferred, on running devices. */
int mpip_shim_ifaddrs(struct net *net, struct mpip_ifaddr *out, int max)
{
	struct net_device *dev;
	int n = 0;

	rcu_read_lock();
	for_each_netdev_rcu(net, dev) {
		const struct in_device *in4 = __in_dev_get_rcu(dev);
		const struct inet6_dev *in6 = __in6_dev_get(dev);
		const struct inet6_ifaddr *ifa6;
		const struct in_ifaddr *ifa;

		if (dev->flags & IFF_LOOPBACK || !netif_running(dev) ||
		    !netif_carrier_ok(dev) || netif_is_l3_master(dev) ||
		    netif_is_l3_slave(dev))
			continue;
		if (in4) {
			in_dev_for_each_ifa_rcu(ifa, in4) {
				if (n == max)
					goto out;
				if (ifa->ifa_scope >= RT_SCOPE_LINK ||
				    ifa->ifa_flags & IFA_F_SECONDARY)
					continue;
				out[n] = (struct mpip_ifaddr){
					.ifindex = dev->ifindex,
					.mtu = READ_ONCE(dev->mtu),
					.family = 4,
				};
				memcpy(out[n].addr, &ifa->ifa_local, 4);
				n++;
			}
		}
		if (!in6)
			continue;
		list_for_each_entry_rcu(ifa6, &in6->addr_list, if_list) {
			if (n == max)
				goto out;
			if (ifa6->scope != RT_SCOPE_UNIVERSE ||
			    ifa6->flags & (IFA_F_TENTATIVE | IFA_F_DADFAILED |
					   IFA_F_DEPRECATED | IFA_F_TEMPORARY))
				continue;
			out[n] = (struct mpip_ifaddr){
				.ifindex = dev->ifindex,
				.mtu = READ_ONCE(dev->mtu),
				.family = 6,
			};
			memcpy(out[n].addr, &ifa6->addr, 16);
			n++;
		}
	}
out:
	rcu_read_unlock();
	return n;
}

/*
 * Whether a device carries packets. The carrier is lost at once, but when it
 * is back the device's queue is not there yet.
 */
static bool dev_is_ready(const struct net_device *dev)
{
	return netif_running(dev) && netif_carrier_ok(dev) && netif_oper_up(dev);
}

/* Whether @addr is this host's and the device @ifindex, unless 0, is ready. */
bool mpip_shim_addr_alive(struct net *net, u32 ifindex, u8 family,
			  const u8 *addr)
{
	const struct net_device *dev;
	bool ready = true;

	if (ifindex) {
		rcu_read_lock();
		dev = dev_get_by_index_rcu(net, ifindex);
		ready = dev && dev_is_ready(dev);
		rcu_read_unlock();
	}
	return ready && mpip_shim_addr_is_local(net, family, addr);
}

/* Changes whenever a route or an address does. */
u64 mpip_shim_route_generation(const struct net *net)
{
	u64 generation = (u32)rt_genid_ipv4(net);

#if IS_ENABLED(CONFIG_IPV6)
	generation |= (u64)(u32)rt_genid_ipv6(net) << 32;
#endif
	return generation;
}

struct mpip_watch {
	struct notifier_block dev;
	struct notifier_block in4;
	struct notifier_block in6;
	struct net *net;
	void *instance;
};

static int dev_changed(struct notifier_block *nb, unsigned long event,
		       void *ptr)
{
	struct mpip_watch *w = container_of(nb, struct mpip_watch, dev);

	switch (event) {
	case NETDEV_UP:
	case NETDEV_DOWN:
	case NETDEV_CHANGE:
	case NETDEV_CHANGEMTU:
	case NETDEV_UNREGISTER:
		mpip_rs_changed(w->instance);
	}
	return NOTIFY_DONE;
}

static int in4_changed(struct notifier_block *nb, unsigned long event,
		       void *ptr)
{
	struct mpip_watch *w = container_of(nb, struct mpip_watch, in4);
	struct in_ifaddr *ifa = ptr;

	if (net_eq(dev_net(ifa->ifa_dev->dev), w->net))
		mpip_rs_changed(w->instance);
	return NOTIFY_DONE;
}

/* Atomic context. */
static int in6_changed(struct notifier_block *nb, unsigned long event,
		       void *ptr)
{
	struct mpip_watch *w = container_of(nb, struct mpip_watch, in6);
	struct inet6_ifaddr *ifa = ptr;

	if (net_eq(dev_net(ifa->idev->dev), w->net))
		mpip_rs_changed(w->instance);
	return NOTIFY_DONE;
}

/*
 * Has mpip_rs_changed() called for whatever happens to devices and addresses
 * of @net, after the kernel's own tables have followed. Process context.
 */
struct mpip_watch *mpip_shim_watch_new(struct net *net, void *instance)
{
	struct mpip_watch *w = kzalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	w->net = net;
	w->instance = instance;
	w->dev.notifier_call = dev_changed;
	w->in4.notifier_call = in4_changed;
	w->in6.notifier_call = in6_changed;
	w->dev.priority = w->in4.priority = w->in6.priority = INT_MIN;
	if (register_netdevice_notifier_net(net, &w->dev)) {
		kfree(w);
		return NULL;
	}
	register_inetaddr_notifier(&w->in4);
	register_inet6addr_notifier(&w->in6);
	return w;
}

/* Returns when no call is running any more. Process context. */
void mpip_shim_watch_free(struct net *net, struct mpip_watch *w)
{
	unregister_inet6addr_notifier(&w->in6);
	unregister_inetaddr_notifier(&w->in4);
	unregister_netdevice_notifier_net(net, &w->dev);
	kfree(w);
}

/* Sockets */

/*
 * Keep *@port (any when 0) from everybody else, for both families, by a
 * socket that nobody reads. Process context.
 */
struct socket *mpip_shim_port_reserve(struct net *net, u8 proto, u16 *port)
{
	int type = proto == IPPROTO_TCP ? SOCK_STREAM : SOCK_DGRAM;
	struct sockaddr_storage ss = {};
	struct socket *sock;
	int len;

	if (!sock_create_kern(net, AF_INET6, type, proto, &sock)) {
		struct sockaddr_in6 *a = (struct sockaddr_in6 *)&ss;

		/* Whatever the host's default: the port is ours in IPv4, too. */
		sock->sk->sk_ipv6only = 0;
		a->sin6_family = AF_INET6;
		a->sin6_port = htons(*port);
		len = sizeof(*a);
	} else if (!sock_create_kern(net, AF_INET, type, proto, &sock)) {
		struct sockaddr_in *a = (struct sockaddr_in *)&ss;

		a->sin_family = AF_INET;
		a->sin_port = htons(*port);
		len = sizeof(*a);
	} else {
		return NULL;
	}
	/* Nothing is ever queued to it. */
	sock->sk->sk_rcvbuf = 0;
	if (kernel_bind(sock, (struct sockaddr_unsized *)&ss, len)) {
		sock_release(sock);
		return NULL;
	}
	*port = inet_sk(sock->sk)->inet_num;
	return sock;
}

void mpip_shim_port_release(struct socket *sock)
{
	sock_release(sock);
}

/*
 * Who owns the tuple of an incoming TCP @flow: nobody, a socket that is not
 * established (a request, TIME_WAIT), or one whose stream is then told.
 */
int mpip_shim_tcp_lookup(struct net *net, const struct mpip_flow *flow,
			 int ifindex, struct mpip_stream *stream)
{
	struct sock *sk;
	bool full;

	if (flow->family == 4) {
		__be32 saddr, daddr;

		memcpy(&saddr, flow->src, sizeof(saddr));
		memcpy(&daddr, flow->dst, sizeof(daddr));
		sk = __inet_lookup_established(net, saddr, htons(flow->sport),
					       daddr, flow->dport, ifindex, 0);
	} else {
		struct in6_addr saddr, daddr;

		memcpy(&saddr, flow->src, sizeof(saddr));
		memcpy(&daddr, flow->dst, sizeof(daddr));
		sk = __inet6_lookup_established(net, &saddr, htons(flow->sport),
						&daddr, flow->dport, ifindex, 0);
	}
	if (!sk)
		return MPIP_OWNER_NONE;
	full = sk_fullsock(sk);
	if (full) {
		stream->rcv_nxt = READ_ONCE(tcp_sk(sk)->rcv_nxt);
		stream->snd_una = READ_ONCE(tcp_sk(sk)->snd_una);
	}
	sock_gen_put(sk);
	return full ? MPIP_OWNER_STREAM : MPIP_OWNER_OTHER;
}

/* Whether a UDP socket would get an incoming @flow. */
bool mpip_shim_udp_owned(struct net *net, const struct mpip_flow *flow,
			 int ifindex)
{
	struct sock *sk;

	if (flow->family == 4) {
		__be32 saddr, daddr;

		memcpy(&saddr, flow->src, sizeof(saddr));
		memcpy(&daddr, flow->dst, sizeof(daddr));
		sk = udp4_lib_lookup(net, saddr, htons(flow->sport), daddr,
				     htons(flow->dport), ifindex);
	} else {
		struct in6_addr saddr, daddr;

		memcpy(&saddr, flow->src, sizeof(saddr));
		memcpy(&daddr, flow->dst, sizeof(daddr));
		sk = udp6_lib_lookup(net, &saddr, htons(flow->sport), &daddr,
				     htons(flow->dport), ifindex);
	}
	if (!sk)
		return false;
	sock_put(sk);
	return true;
}

/* Whether @addr is one of this host: what comes for another is forwarded. */
bool mpip_shim_addr_is_local(struct net *net, u8 family, const u8 *addr)
{
	if (family == 4) {
		__be32 a;

		memcpy(&a, addr, sizeof(a));
		return inet_addr_type(net, a) == RTN_LOCAL;
	} else {
		struct in6_addr a;

		memcpy(&a, addr, sizeof(a));
		return ipv6_chk_addr(net, &a, NULL, 0);
	}
}

/* The connected socket of an outgoing @flow, with a reference. */
static struct sock *flow_socket(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk;

	/* The lookups see the flow as its receiver does. */
	rcu_read_lock();
	if (flow->family == 4) {
		__be32 local, remote;

		memcpy(&local, flow->src, sizeof(local));
		memcpy(&remote, flow->dst, sizeof(remote));
		if (flow->proto == IPPROTO_TCP)
			sk = __inet_lookup_established(net, remote,
						       htons(flow->dport), local,
						       flow->sport, 0, 0);
		else
			sk = udp4_lib_lookup(net, remote, htons(flow->dport),
					     local, htons(flow->sport), 0);
	} else {
		struct in6_addr local, remote;

		memcpy(&local, flow->src, sizeof(local));
		memcpy(&remote, flow->dst, sizeof(remote));
		if (flow->proto == IPPROTO_TCP)
			sk = __inet6_lookup_established(net, &remote,
							htons(flow->dport),
							&local, flow->sport,
							0, 0);
		else
			sk = udp6_lib_lookup(net, &remote, htons(flow->dport),
					     &local, htons(flow->sport), 0);
	}
	rcu_read_unlock();
	if (!sk)
		return NULL;
	if (!sk_fullsock(sk) || sk->sk_bound_dev_if ||
	    (flow->proto == IPPROTO_UDP && sk->sk_state != TCP_ESTABLISHED)) {
		sock_gen_put(sk);
		return NULL;
	}
	return sk;
}

/* Let TCP send at once what it has put off because nothing came through. */
static void wake_tcp(struct sock *sk)
{
	struct inet_connection_sock *icsk = inet_csk(sk);
	const struct tcp_sock *tp = tcp_sk(sk);
	u8 pending = icsk->icsk_pending;

	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN | TCPF_SYN_SENT |
				   TCPF_SYN_RECV | TCPF_TIME_WAIT))
		return;
	if (!icsk->icsk_backoff && !icsk->icsk_retransmits &&
	    !icsk->icsk_probes_out)
		return;
	if (pending != ICSK_TIME_RETRANS && pending != ICSK_TIME_PROBE0)
		return;
	icsk->icsk_backoff = 0;
	if (tp->srtt_us)
		icsk->icsk_rto = clamp(__tcp_set_rto(tp), tcp_rto_min(sk),
				       tcp_rto_max(sk));
	else
		icsk->icsk_rto = TCP_TIMEOUT_INIT;
	tcp_reset_xmit_timer(sk, pending, 1, false);
}

/*
 * Have the socket of @flow, which has no route of its own any more, send by
 * @dst: the packets get as far as the hook at POST_ROUTING, which sends them
 * another way. True if the socket needed it. Process context.
 */
bool mpip_shim_sock_lend(struct net *net, const struct mpip_flow *flow,
			 const struct mpip_dst *dst)
{
	struct sock *sk = flow_socket(net, flow);
	bool lent = false;
	u32 cookie = 0;

	if (!sk)
		return false;
	lock_sock(sk);
	if (sk->sk_family == AF_INET6)
		cookie = inet6_sk(sk)->dst_cookie;
	if (!__sk_dst_check(sk, cookie)) {
		dst_hold(dst->dst);
		if (flow->family == 4)
			sk_setup_caps(sk, dst->dst);
		else
			ip6_dst_store(sk, dst->dst, true, false);
		if (sk->sk_protocol == IPPROTO_TCP)
			wake_tcp(sk);
		lent = true;
	}
	release_sock(sk);
	sock_gen_put(sk);
	return lent;
}

/*
 * Have TCP say again what it has received: its last acknowledgements may be
 * lost with a path, and the other end waits for them. Process context.
 */
void mpip_shim_sock_ack(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk = flow_socket(net, flow);

	if (!sk)
		return;
	lock_sock(sk);
	if (sk->sk_protocol == IPPROTO_TCP &&
	    !((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN | TCPF_SYN_SENT |
				     TCPF_SYN_RECV | TCPF_TIME_WAIT)))
		__tcp_send_ack(sk, tcp_sk(sk)->rcv_nxt, 0);
	release_sock(sk);
	sock_gen_put(sk);
}

/* A way is open again: TCP need not wait for its timer. Process context. */
bool mpip_shim_sock_wake(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk = flow_socket(net, flow);

	if (!sk)
		return false;
	lock_sock(sk);
	if (sk->sk_protocol == IPPROTO_TCP)
		wake_tcp(sk);
	release_sock(sk);
	sock_gen_put(sk);
	return true;
}

/* Timers and work */

/* Detecting a dead path must not wait behind somebody's long work. */
static struct workqueue_struct *mpip_wq;

int mpip_shim_work_init(void)
{
	mpip_wq = alloc_workqueue("mpip", WQ_UNBOUND | WQ_HIGHPRI, 0);
	return mpip_wq ? 0 : -ENOMEM;
}

void mpip_shim_work_exit(void)
{
	destroy_workqueue(mpip_wq);
}

struct mpip_timer {
	struct hrtimer timer;
	void *session;
};

static enum hrtimer_restart timer_fire(struct hrtimer *t)
{
	mpip_rs_timer(container_of(t, struct mpip_timer, timer)->session);
	return HRTIMER_NORESTART;
}

struct mpip_timer *mpip_shim_timer_new(void *session, bool atomic)
{
	struct mpip_timer *t = kmalloc(sizeof(*t),
				       atomic ? GFP_ATOMIC : GFP_KERNEL);

	if (!t)
		return NULL;
	hrtimer_setup(&t->timer, timer_fire, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL_SOFT);
	t->session = session;
	return t;
}

void mpip_shim_timer_start(struct mpip_timer *t, u32 us)
{
	hrtimer_start(&t->timer, us_to_ktime(us), HRTIMER_MODE_REL_SOFT);
}

/* Waits for a running callback. Process context. */
void mpip_shim_timer_free(struct mpip_timer *t)
{
	hrtimer_cancel(&t->timer);
	kfree(t);
}

struct mpip_work {
	struct delayed_work work;
	void *instance;
};

static void work_fire(struct work_struct *w)
{
	mpip_rs_work(container_of(to_delayed_work(w), struct mpip_work,
				  work)->instance);
}

struct mpip_work *mpip_shim_work_new(void *instance)
{
	struct mpip_work *w = kmalloc(sizeof(*w), GFP_KERNEL);

	if (!w)
		return NULL;
	INIT_DELAYED_WORK(&w->work, work_fire);
	w->instance = instance;
	return w;
}

/* Run within @ms milliseconds, sooner if it was already due sooner. */
void mpip_shim_work_kick(struct mpip_work *w, u32 ms)
{
	unsigned long delay = msecs_to_jiffies(ms);

	/* Already on its way: what was written before is seen by it. */
	smp_mb();
	if (!delay && work_pending(&w->work.work) &&
	    !timer_pending(&w->work.timer))
		return;
	/* When it is queued to run now, the timer's time has passed. */
	if (delay && delayed_work_pending(&w->work) &&
	    time_before_eq(READ_ONCE(w->work.timer.expires), jiffies + delay))
		return;
	mod_delayed_work(mpip_wq, &w->work, delay);
}

/* Waits for a running call. Process context. */
void mpip_shim_work_free(struct mpip_work *w)
{
	disable_delayed_work_sync(&w->work);
	kfree(w);
}

/* Network namespaces */

static unsigned int mpip_net_id __read_mostly;

struct mpip_net {
	void *ns;
};

static struct pernet_operations mpip_pernet_ops = {
	.init = mpip_rs_net_init,
	.pre_exit = mpip_rs_net_pre_exit,
	.exit = mpip_rs_net_exit,
	.id = &mpip_net_id,
	.size = sizeof(struct mpip_net),
};

int mpip_shim_pernet_register(void)
{
	return register_pernet_device(&mpip_pernet_ops);
}

void mpip_shim_pernet_unregister(void)
{
	unregister_pernet_device(&mpip_pernet_ops);
}

void *mpip_shim_pernet_get(struct net *net)
{
	return READ_ONCE(((struct mpip_net *)net_generic(net, mpip_net_id))->ns);
}

void mpip_shim_pernet_set(struct net *net, void *ns)
{
	WRITE_ONCE(((struct mpip_net *)net_generic(net, mpip_net_id))->ns, ns);
}

bool mpip_shim_net_is_init(const struct net *net)
{
	return net_eq(net, &init_net);
}

/* Generic netlink */

/* The groups as generated, and who may join: the generator has no word for it. */
static const struct genl_multicast_group mpip_mcgrps[] = {
	[MPIP_NLGRP_EVENTS] = {
		.name	= MPIP_MCGRP_EVENTS,
		.flags	= GENL_MCAST_CAP_NET_ADMIN,
	},
};

int mpip_shim_genl_register(void)
{
	if (WARN_ON(mpip_nl_family.n_mcgrps != ARRAY_SIZE(mpip_mcgrps)))
		return -EINVAL;
	mpip_nl_family.mcgrps = mpip_mcgrps;
	return genl_register_family(&mpip_nl_family);
}

void mpip_shim_genl_unregister(void)
{
	genl_unregister_family(&mpip_nl_family);
}

struct net *mpip_shim_info_net(const struct genl_info *info)
{
	return genl_info_net(info);
}

struct nlattr *mpip_shim_info_attr(const struct genl_info *info, int attr)
{
	return info->attrs[attr];
}

void mpip_shim_info_fail(struct genl_info *info, const char *msg, int attr)
{
	if (attr && info->attrs[attr])
		NL_SET_BAD_ATTR(info->extack, info->attrs[attr]);
	/* The message is copied: a weak pointer would outlive the caller's. */
	NL_SET_ERR_MSG_FMT(info->extack, "%s", msg);
}

void *mpip_shim_info_reply(struct genl_info *info, u8 cmd, struct sk_buff **skb)
{
	void *hdr;

	*skb = genlmsg_new(GENLMSG_DEFAULT_SIZE, GFP_KERNEL);
	if (!*skb)
		return NULL;
	hdr = genlmsg_put_reply(*skb, info, &mpip_nl_family, 0, cmd);
	if (!hdr)
		nlmsg_free(*skb);
	return hdr;
}

int mpip_shim_info_send(struct genl_info *info, struct sk_buff *skb, void *hdr)
{
	genlmsg_end(skb, hdr);
	return genlmsg_reply(skb, info);
}

struct net *mpip_shim_cb_net(struct netlink_callback *cb, struct sk_buff *skb)
{
	return sock_net(skb->sk);
}

long *mpip_shim_cb_ctx(struct netlink_callback *cb)
{
	return (long *)cb->ctx;
}

void mpip_shim_cb_seq(struct netlink_callback *cb, u32 seq)
{
	cb->seq = seq;
}

void *mpip_shim_dump_begin(struct sk_buff *skb, struct netlink_callback *cb,
			   u8 cmd)
{
	void *hdr = genlmsg_put(skb, NETLINK_CB(cb->skb).portid,
				cb->nlh->nlmsg_seq, &mpip_nl_family,
				NLM_F_MULTI, cmd);

	if (hdr)
		genl_dump_check_consistent(cb, hdr);
	return hdr;
}

void mpip_shim_msg_end(struct sk_buff *skb, void *hdr)
{
	genlmsg_end(skb, hdr);
}

void mpip_shim_msg_cancel(struct sk_buff *skb, void *hdr)
{
	genlmsg_cancel(skb, hdr);
}

bool mpip_shim_event_wanted(struct net *net)
{
	return genl_has_listeners(&mpip_nl_family, net, MPIP_NLGRP_EVENTS) > 0;
}

void *mpip_shim_event_new(u32 len, u8 cmd, struct sk_buff **skb)
{
	void *hdr;

	*skb = genlmsg_new(len, GFP_ATOMIC);
	if (!*skb)
		return NULL;
	hdr = genlmsg_put(*skb, 0, 0, &mpip_nl_family, 0, cmd);
	if (!hdr)
		nlmsg_free(*skb);
	return hdr;
}

void mpip_shim_event_send(struct net *net, struct sk_buff *skb, void *hdr)
{
	genlmsg_end(skb, hdr);
	/* Netlink tells each listener by itself that it has missed something. */
	genlmsg_multicast_netns(&mpip_nl_family, net, skb, 0,
				MPIP_NLGRP_EVENTS, GFP_ATOMIC);
}

void mpip_shim_event_lost(struct net *net)
{
	genl_set_err(&mpip_nl_family, net, 0, MPIP_NLGRP_EVENTS, -ENOBUFS);
}

int mpip_shim_nla_put(struct sk_buff *skb, int attr, int len, const void *data)
{
	return nla_put(skb, attr, len, data);
}

void *mpip_shim_nest_start(struct sk_buff *skb, int attr)
{
	return nla_nest_start(skb, attr);
}

void mpip_shim_nest_end(struct sk_buff *skb, void *nest)
{
	nla_nest_end(skb, nest);
}

u32 mpip_shim_nla_len(const struct nlattr *nla)
{
	return nla_len(nla);
}

const u8 *mpip_shim_nla_data(const struct nlattr *nla)
{
	return nla_data(nla);
}
