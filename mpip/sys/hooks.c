// SPDX-License-Identifier: GPL-2.0
/*
 * Netfilter hooks: what passes before Rust is called (the gate), what may be
 * touched, and what a hook needs of the stack around it.
 */
#include <linux/cgroup.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jiffies.h>
#include <linux/math64.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/random.h>
#include <linux/skbuff.h>
#include <linux/tcp.h>
#include <linux/udp.h>
#include <linux/unaligned.h>
#include <net/icmp.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_queue.h>
#include <net/route.h>
#include <net/tcp.h>
#include <net/xfrm.h>

#include "shims.h"

/*
 * Outside conntrack (-200) and NAT (+-100), after defragmentation (-400), and
 * after the raw table (-300): reverse-path filters there have to see the source
 * that belongs to the interface.
 */
#define MPIP_PRI_PRE_ROUTING	(-250)
#define MPIP_PRI_POST_ROUTING	(200)
/* After the filter; conntrack's confirmation is at INT_MAX. */
#define MPIP_PRI_LOCAL_IN	(INT_MAX)

#define GATE_BITS	10
/* Some keys for each direction: that of TCP or UDP is found without a branch. */
#define GATE_KEYS	32
/* How long a slot is believed, jiffies. */
#define GATE_LIFE	max(HZ / 16, 1)

/*
 * What the hooks look at before they call into Rust. A slot says that Rust has
 * just had nothing to do with packets of one flow in one direction: it is the
 * sum of a keyed hash and of the time. Nobody meets another flow's.
 */
struct mpip_gate {
	u64 slots[1 << GATE_BITS];
	u64 addr_key;
	/* Of outgoing and of incoming flows of TCP and UDP. */
	u64 keys[2][GATE_KEYS];
	void *instance;
	u32 max_cm;
	__be16 own_port;
	/* Reasons to look at datagrams that leave: MPIP_LOOK_* */
	unsigned long looks;
	atomic_t tuples;
	atomic_t lanes;
	/* Sockets that may send from an address that has gone. */
	const void *lent[MPIP_MAX_LENT];
};

#define MPIP_LOOK_RIDING	0
#define MPIP_LOOK_LENT		1

struct mpip_gate *mpip_shim_gate_new(u32 max_cm)
{
	struct mpip_gate *gate = kvzalloc(sizeof(*gate), GFP_KERNEL);
	unsigned int i;

	if (!gate)
		return NULL;
	gate->addr_key = get_random_u64();
	get_random_bytes(gate->keys, sizeof(gate->keys));
	for (i = 0; i < GATE_KEYS; i++) {
		gate->keys[0][i] |= 1;
		gate->keys[1][i] |= 1;
	}
	gate->max_cm = max_cm;
	return gate;
}

void mpip_shim_gate_free(struct mpip_gate *gate)
{
	kvfree(gate);
}

/* Whether there are tuples of added lanes. */
bool mpip_shim_gate_lanes(const struct mpip_gate *gate)
{
	return atomic_read(&gate->lanes);
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
	assign_bit(MPIP_LOOK_RIDING, &gate->looks, riding);
}

/* The @i-th socket that may send from an address that has gone; NULL for none. */
void mpip_shim_gate_lent(struct mpip_gate *gate, unsigned int i,
			 const void *sk)
{
	bool any = false;

	WRITE_ONCE(gate->lent[i], sk);
	for (i = 0; i < MPIP_MAX_LENT; i++)
		any |= !!gate->lent[i];
	assign_bit(MPIP_LOOK_LENT, &gate->looks, any);
}

/* Whether a socket may send from an address that has gone, or could lately. */
static bool gate_lent(const struct mpip_gate *gate, const struct sock *sk)
{
	unsigned int i;

	if (!sk || !test_bit(MPIP_LOOK_LENT, &gate->looks))
		return false;
	for (i = 0; i < MPIP_MAX_LENT; i++) {
		if (READ_ONCE(gate->lent[i]) == sk)
			return true;
	}
	return false;
}

/*
 * Whether a packet has a source address that is none of this host's, and leaves
 * only because we have made that possible for its socket. Softirq or process
 * context.
 */
bool mpip_shim_tx_forges(const struct mpip_gate *gate, const struct sk_buff *skb,
			 const struct nf_hook_state *state)
{
	struct mpip_flow before;
	__be32 source;

	/* What loops back of a multicast has no socket of its own. */
	if (!gate_lent(gate, state->sk) || skb->protocol != htons(ETH_P_IP))
		return false;
	source = ip_hdr(skb)->saddr;
	/* Nor may this host's NAT give a false one the looks of a good one. */
	if (mpip_shim_rx_before_nat(skb, &before))
		memcpy(&source, before.src, sizeof(source));
	return inet_addr_type(state->net, source) != RTN_LOCAL;
}

void mpip_shim_gate_port(struct mpip_gate *gate, u16 port)
{
	WRITE_ONCE(gate->own_port, htons(port));
}

/*
 * Each packet of the host needs it, so there is no more to it than one product.
 * Its lower half knows all bits of the addresses because the other factor is
 * odd: all keys are.
 */
static __always_inline u64 gate_hash4(const struct mpip_gate *gate, bool in,
				      u8 proto, const void *addrs, u32 ports)
{
	return (get_unaligned((const u64 *)addrs) ^ gate->addr_key) *
	       ((u64)ports << 1 ^ gate->keys[in][proto % GATE_KEYS]);
}

static __always_inline u64 gate_hash6(const struct mpip_gate *gate, bool in,
				      u8 proto, const void *addrs, u32 ports)
{
	const u64 *a = addrs;
	u64 h = gate->addr_key;
	int i;

	for (i = 0; i < 4; i++) {
		u64 word = get_unaligned(a + i) ^ h, key = gate->keys[0][i];

		h = word * key ^ mul_u64_u64_shr(word, key, 64);
	}
	return h * ((u64)ports << 1 ^ gate->keys[in][proto % GATE_KEYS]);
}

/* Where a flow's slot is. The upper bits of a product are its best. */
static __always_inline u32 gate_slot(u64 hash)
{
	return hash >> (64 - GATE_BITS);
}

static __always_inline bool gate_knows(const struct mpip_gate *gate, u64 hash)
{
	/* A slot changes as a whole; an old value is as good. */
	return hash + jiffies - data_race(gate->slots[gate_slot(hash)]) < GATE_LIFE;
}

/*
 * Whether a packet is plain: its headers are linear, up to TCP's flags, and it
 * is no fragment. For others than TCP and UDP only *@proto counts.
 */
static __always_inline bool gate_parse(const struct sk_buff *skb, u8 family,
				       u8 *proto, const u8 **l4)
{
	const u8 *data = skb->data;
	u32 header = family == 4 ? 20 : 40;
	u32 linear = skb_headlen(skb);

	/* What is shorter than a datagram's header Rust may look at. */
	if (unlikely(linear < header + sizeof(struct udphdr)))
		return false;
	*proto = family == 4 ? data[9] : data[6];
	*l4 = data + header;
	/* TCP comes in bursts: what its segments cost matters less. */
	if (unlikely(*proto != IPPROTO_UDP)) {
		if (*proto != IPPROTO_TCP)
			return true;
		if (unlikely(linear < header + sizeof(struct tcphdr)))
			return false;
	}
	if (family == 4) {
		const struct iphdr *iph = (const struct iphdr *)data;

		if (unlikely(data[0] != 0x45 ||
			     iph->frag_off & htons(IP_MF | IP_OFFSET)))
			return false;
	}
	return true;
}

/* The hash of the flow of such a packet, TCP or UDP. */
static __always_inline u64 gate_hash(const struct mpip_gate *gate, bool in,
				     const struct sk_buff *skb, u8 family,
				     u8 proto, const u8 *l4)
{
	u32 ports = get_unaligned((const u32 *)l4);

	return family == 4 ?
		gate_hash4(gate, in, proto, skb->data + 12, ports) :
		gate_hash6(gate, in, proto, skb->data + 8, ports);
}

/* Whether Rust has just had nothing to do with the flow of such a packet. */
static __always_inline bool gate_passed(const struct mpip_gate *gate, bool in,
					const struct sk_buff *skb, u8 family,
					u8 proto, const u8 *l4)
{
	return gate_knows(gate, gate_hash(gate, in, skb, family, proto, l4));
}

/* Whether an outgoing packet is none that Rust has to see, as far as this is known at once. */
static __always_inline bool gate_lets_out(const struct mpip_gate *gate,
					  const struct sk_buff *skb, u8 family)
{
	const u8 *l4;
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4))
		return false;
	if (likely(proto == IPPROTO_UDP)) {
		/* No packet that is under way has to know of what changes now. */
		if (data_race(gate->looks))
			return false;
	} else if (proto == IPPROTO_TCP) {
		if (((const struct tcphdr *)l4)->syn)
			return false;
	} else {
		return true;
	}
	return gate_passed(gate, false, skb, family, proto, l4);
}

/* The same for a datagram while there are reasons to look at some of them. */
static bool gate_lets_datagram_out(const struct mpip_gate *gate,
				   const struct sk_buff *skb,
				   const struct sock *sk, u8 family)
{
	const u8 *l4;
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4) || proto != IPPROTO_UDP ||
	    test_bit(MPIP_LOOK_RIDING, &gate->looks) || gate_lent(gate, sk))
		return false;
	return gate_passed(gate, false, skb, family, IPPROTO_UDP, l4);
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
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4))
		return false;
	if (likely(proto == IPPROTO_UDP)) {
		const struct udphdr *uh = (const struct udphdr *)l4;

		/* The longest packet has no more bytes than 16 bits count. */
		if (uh->len != htons((u16)(skb->len - header)) ||
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
	/* The first packet of a new tuple may be on its way already. */
	return !data_race(gate->tuples.counter) ||
	       gate_passed(gate, true, skb, family, proto, l4);
}

/* For a moment Rust need not see packets like this one. */
void mpip_shim_gate_pass(struct mpip_gate *gate, const struct sk_buff *skb,
			 u8 family, bool in)
{
	const u8 *l4;
	u64 hash;
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4) ||
	    (proto != IPPROTO_TCP && proto != IPPROTO_UDP))
		return;
	hash = gate_hash(gate, in, skb, family, proto, l4);
	WRITE_ONCE(gate->slots[gate_slot(hash)], hash + jiffies);
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
		/* Another's has to be found anew, no more. */
		WRITE_ONCE(gate->slots[gate_slot(hash)], 0);
	}
}

/* Apart, so that what the gate lets out costs no more than it must. */
static noinline __noclone unsigned int
look_out(void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	 u8 family)
{
	const struct mpip_gate *gate = priv;

	if (READ_ONCE(gate->looks) &&
	    gate_lets_datagram_out(gate, skb, state->sk, family))
		return NF_ACCEPT;
	return mpip_rs_post_routing(gate->instance, skb, state, family);
}

static unsigned int hook_out4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_out(priv, skb, 4)))
		return NF_ACCEPT;
	return look_out(priv, skb, state, 4);
}

static unsigned int hook_out6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_out(priv, skb, 6)))
		return NF_ACCEPT;
	return look_out(priv, skb, state, 6);
}

static noinline __noclone unsigned int
look_in(void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	u8 family)
{
	const struct mpip_gate *gate = priv;

	return mpip_rs_pre_routing(gate->instance, skb, state, family);
}

static unsigned int hook_pre4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_in(priv, skb, 4)))
		return NF_ACCEPT;
	return look_in(priv, skb, state, 4);
}

static unsigned int hook_pre6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_in(priv, skb, 6)))
		return NF_ACCEPT;
	return look_in(priv, skb, state, 6);
}

/* Without added lanes everything is in order. */
static unsigned int hook_in4(void *priv, struct sk_buff *skb,
			     const struct nf_hook_state *state)
{
	struct mpip_gate *gate = priv;

	if (!atomic_read(&gate->lanes) ||
	    (ip_hdr(skb)->protocol != IPPROTO_TCP &&
	     ip_hdr(skb)->protocol != IPPROTO_UDP))
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

static const struct nf_hook_ops wire_hooks[] = {
	{ .hook = hook_pre4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_PRE_ROUTING, .priority = MPIP_PRI_PRE_ROUTING },
	{ .hook = hook_out4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_POST_ROUTING, .priority = MPIP_PRI_POST_ROUTING },
	{ .hook = hook_pre6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_PRE_ROUTING, .priority = MPIP_PRI_PRE_ROUTING },
	{ .hook = hook_out6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_POST_ROUTING, .priority = MPIP_PRI_POST_ROUTING },
};

static const struct nf_hook_ops order_hooks[] = {
	{ .hook = hook_in4, .pf = NFPROTO_IPV4,
	  .hooknum = NF_INET_LOCAL_IN, .priority = MPIP_PRI_LOCAL_IN },
	{ .hook = hook_in6, .pf = NFPROTO_IPV6,
	  .hooknum = NF_INET_LOCAL_IN, .priority = MPIP_PRI_LOCAL_IN },
};

struct mpip_hooks {
	unsigned int n;
	struct nf_hook_ops ops[];
};

static struct mpip_hooks *hooks_register(struct net *net, struct mpip_gate *gate,
					 const struct nf_hook_ops *ops,
					 unsigned int n)
{
	struct mpip_hooks *hooks = kmalloc(struct_size(hooks, ops, n), GFP_KERNEL);
	unsigned int i;

	if (!hooks)
		return NULL;
	hooks->n = n;
	memcpy(hooks->ops, ops, n * sizeof(*ops));
	for (i = 0; i < n; i++)
		hooks->ops[i].priv = gate;
	if (nf_register_net_hooks(net, hooks->ops, n)) {
		kfree(hooks);
		return NULL;
	}
	return hooks;
}

/* What every packet of the host passes. */
struct mpip_hooks *mpip_shim_hooks_wire(struct net *net, struct mpip_gate *gate,
					void *instance)
{
	gate->instance = instance;
	return hooks_register(net, gate, wire_hooks, ARRAY_SIZE(wire_hooks));
}

/* What puts segments in order, after the above. */
struct mpip_hooks *mpip_shim_hooks_order(struct net *net, struct mpip_gate *gate)
{
	return hooks_register(net, gate, order_hooks, ARRAY_SIZE(order_hooks));
}

/* Returns when no hook runs any more. */
void mpip_shim_hooks_unregister(struct net *net, struct mpip_hooks *hooks)
{
	nf_unregister_net_hooks(net, hooks->ops, hooks->n);
	synchronize_net();
	kfree(hooks);
}

/*
 * May this outgoing packet be looked at? Not what is forwarded, tunnelled or
 * transformed, nor what a person has steered by mark, device or VRF. @marks are
 * the bits of marks that steer nothing.
 */
bool mpip_shim_tx_eligible(const struct sk_buff *skb,
			   const struct nf_hook_state *state, u32 marks)
{
	const struct net_device *out = state->out;
	const struct dst_entry *dst = skb_dst(skb);
	const struct sock *sk = skb->sk;

	/* What came in by an interface is passing through. */
	if (!dst || dst_xfrm(dst) || skb->mark & ~marks || skb->encapsulation ||
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

/*
 * The addresses and ports with which a packet came that this host's NAT has
 * changed; false if it has not.
 */
bool mpip_shim_rx_before_nat(const struct sk_buff *skb, struct mpip_flow *flow)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	const struct nf_conntrack_tuple *came;
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	if (!ct || !(READ_ONCE(ct->status) & IPS_NAT_MASK))
		return false;
	came = nf_ct_tuple(ct, CTINFO2DIR(ctinfo));
	flow->proto = came->dst.protonum;
	flow->sport = ntohs(came->src.u.all);
	flow->dport = ntohs(came->dst.u.all);
	memcpy(flow->src, &came->src.u3, sizeof(flow->src));
	memcpy(flow->dst, &came->dst.u3, sizeof(flow->dst));
	if (nf_ct_l3num(ct) == NFPROTO_IPV4)
		flow->family = 4;
	else
		flow->family = 6;
	return true;
#else
	return false;
#endif
}

/* Whether this host's NAT has changed the addresses or ports of a packet's flow. */
bool mpip_shim_is_translated(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	return ct && READ_ONCE(ct->status) & IPS_NAT_MASK;
#else
	return false;
#endif
}

/*
 * The owner of the socket that sends the packet, as the namespace of the
 * network's users knows it. For a connection that is not accepted yet it is the
 * listener's.
 */
bool mpip_shim_tx_user(const struct sk_buff *skb, u32 *uid)
{
	const struct sock *sk = sk_to_full_sk(skb->sk);

	if (!sk || !sk_fullsock(sk))
		return false;
	*uid = from_kuid(sock_net(sk)->user_ns, sk_uid(sk));
	return *uid != (u32)-1;
}

/* Whether this kernel knows of sockets' control groups. */
bool mpip_shim_cgroup_known(void)
{
	return IS_ENABLED(CONFIG_SOCK_CGROUP_DATA);
}

/* The control group of a full socket, with a reference. */
void *mpip_shim_sock_cgroup(struct sock *sk)
{
#ifdef CONFIG_SOCK_CGROUP_DATA
	struct cgroup *cgrp = sock_cgroup_ptr(&sk->sk_cgrp_data);

	return cgroup_tryget(cgrp) ? cgrp : NULL;
#else
	return NULL;
#endif
}

/* The same of the socket that sends the packet. */
void *mpip_shim_tx_cgroup(const struct sk_buff *skb)
{
	struct sock *sk = sk_to_full_sk(skb->sk);

	return sk && sk_fullsock(sk) ? mpip_shim_sock_cgroup(sk) : NULL;
}

/* Its id and those of the groups above it, as many as there is room for. */
void mpip_shim_cgroup_line(void *cgroup, u64 *ids, u32 max)
{
#ifdef CONFIG_SOCK_CGROUP_DATA
	struct cgroup *cgrp;
	u32 n = 0;

	for (cgrp = cgroup; cgrp && n < max; cgrp = cgroup_parent(cgrp))
		ids[n++] = cgroup_id(cgrp);
#endif
}

void mpip_shim_cgroup_put(void *cgroup)
{
#ifdef CONFIG_SOCK_CGROUP_DATA
	cgroup_put(cgroup);
#endif
}

/* Whether the packet's own connection acknowledges selectively. */
bool mpip_shim_tx_sack(const struct sk_buff *skb)
{
	const struct sock *sk = skb->sk;

	return sk && sk_fullsock(sk) && sk->sk_protocol == IPPROTO_TCP &&
	       sk->sk_state != TCP_LISTEN && tcp_is_sack(tcp_sk(sk));
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
 * nothing is touched. Whose lock it is cannot be told: should a queued packet
 * (NFQUEUE) find the lock held by another CPU, two writers may meet. The window
 * and what congestion control remembers stay sane numbers then, one of the two
 * changes is lost.
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

/*
 * Make the window smaller, to @part of @whole less an eighth, which is room for
 * what was in flight and is sent again. Congestion control that remembers how
 * large it was would have it there again within a few round trips: it is told
 * of a loss at the smaller window, unless it has yet to find out how much the
 * paths carry. While TCP recovers, what counts is the window that it had before.
 * It does not go back to that if it comes to think that nothing was lost.
 */
void mpip_shim_tx_shrink(const struct sk_buff *skb, u32 part, u32 whole)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	const struct inet_connection_sock *icsk;
	u32 now, before, want;

	if (!tp || !whole || part >= whole)
		return;
	icsk = inet_csk(skb->sk);
	now = tcp_snd_cwnd(tp);
	before = now;
	if (icsk->icsk_ca_state >= TCP_CA_CWR)
		before = max(now, tp->prior_cwnd);
	want = div_u64((u64)before * part, whole);
	want = max_t(u32, want - want / 8, 4);
	if (tp->snd_ssthresh < TCP_INFINITE_SSTHRESH) {
		tcp_snd_cwnd_set(tp, want);
		icsk->icsk_ca_ops->ssthresh(skb->sk);
		tp->snd_ssthresh = min(tp->snd_ssthresh, want);
	}
	tcp_snd_cwnd_set(tp, min(now, want));
	tp->undo_marker = 0;
}

int mpip_shim_state_in(const struct nf_hook_state *state)
{
	return state->in ? state->in->ifindex : 0;
}

int mpip_shim_state_out(const struct nf_hook_state *state)
{
	return state->out ? state->out->ifindex : 0;
}

/* Does conntrack have nothing to do with @skb after us? The first of a flow it does. */
bool mpip_shim_is_tracked(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_NF_CONNTRACK)
	enum ip_conntrack_info ctinfo;
	const struct nf_conn *ct = nf_ct_get(skb, &ctinfo);

	return !ct || nf_ct_is_confirmed(ct);
#else
	return true;
#endif
}

/*
 * Hand @skb to the transport at once, as the hook's caller would have. Who comes
 * from a queue in user space has softirqs on.
 */
void mpip_shim_pass_on(struct sk_buff *skb, const struct nf_hook_state *state)
{
	local_bh_disable();
	state->okfn(state->net, state->sk, skb);
	local_bh_enable();
}

/*
 * Make @skb fit to be kept beyond the hook. It gives up what would pin other
 * objects: conntrack (a dying namespace waits for it) and user pages.
 */
bool mpip_shim_hold(struct sk_buff *skb, const struct nf_hook_state *state,
		    struct mpip_held *held)
{
	if (!mpip_shim_is_tracked(skb) || !skb_dst_force(skb) ||
	    skb_orphan_frags_rx(skb, GFP_ATOMIC))
		return false;
	nf_reset_ct(skb);
	/* UDP's early demux takes no reference: such a socket is there under RCU only. */
	if (skb->sk && !sk_is_refcounted(skb->sk))
		skb_orphan(skb);
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

static bool is_local(const struct sk_buff *skb, u8 family)
{
	if (family == 4)
		return skb_rtable(skb)->rt_type == RTN_LOCAL;
	return !skb_dst(skb)->error &&
	       dst_rt6_info(skb_dst(skb))->rt6i_flags & RTF_LOCAL;
}

/* Decide the route on the header as it stands; true when it ends here. */
bool mpip_shim_rx_route_local(struct sk_buff *skb, u8 family)
{
	if (family == 4) {
		const struct iphdr *iph = ip_hdr(skb);

		if (ip_route_input_noref(skb, iph->daddr, iph->saddr,
					 ip4h_dscp(iph), skb->dev))
			return false;
	} else {
		ip6_route_input(skb);
	}
	return is_local(skb, family);
}

/*
 * The same for a packet of a flow all of whose packets have the same addresses
 * and come by the interface @ifindex, as the early demultiplexing of sockets has
 * it: the route of the last one is good as long as it is valid.
 */
bool mpip_shim_rx_route_flow(struct sk_buff *skb, u8 family, void **route,
			     int ifindex)
{
	struct dst_entry *dst;

	/* IPv6 has a cookie for each: not worth its room. */
	if (family != 4 || skb->dev->ifindex != ifindex)
		return mpip_shim_rx_route_local(skb, family);
	dst = READ_ONCE(*route);
	if (dst) {
		if (dst_check(dst, 0)) {
			skb_dst_set_noref(skb, dst);
			return true;
		}
		if (cmpxchg(route, dst, NULL) == dst)
			dst_release(dst);
	}
	if (!mpip_shim_rx_route_local(skb, family))
		return false;
	dst = skb_dst(skb);
	if (dst_hold_safe(dst) && cmpxchg(route, NULL, dst))
		dst_release(dst);
	return true;
}

/* Let go of what the above has remembered. */
void mpip_shim_rx_route_forget(void *route)
{
	dst_release(route);
}

void mpip_shim_icmp_unreach(struct sk_buff *skb, u8 family)
{
	if (family == 4)
		icmp_send(skb, ICMP_DEST_UNREACH, ICMP_PORT_UNREACH, 0);
	else
		icmpv6_send(skb, ICMPV6_DEST_UNREACH, ICMPV6_PORT_UNREACH, 0);
}
