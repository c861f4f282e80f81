// SPDX-License-Identifier: GPL-2.0
/*
 * The gate: the netfilter hooks, and what passes them before Rust is called.
 */
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
#include <net/ip.h>
#include <net/route.h>

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
	/*
	 * That of outgoing datagrams, or, while there are reasons to look at some
	 * (MPIP_LOOK_*), the one that finds no slot.
	 */
	u64 no_key;
	u64 quick_key;
	unsigned long looks;
	/* Of the two above, which change together. */
	spinlock_t looks_lock;
	void *instance;
	u32 max_cm;
	__be16 own_port;
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
	gate->addr_key = get_random_u64() | 1;
	get_random_bytes(gate->keys, sizeof(gate->keys));
	for (i = 0; i < GATE_KEYS; i++) {
		gate->keys[0][i] |= 1;
		gate->keys[1][i] |= 1;
	}
	gate->quick_key = gate->keys[0][IPPROTO_UDP];
	gate->no_key = get_random_u64() | 1;
	spin_lock_init(&gate->looks_lock);
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

/*
 * There is a reason to look at datagrams that leave, or no longer. No packet
 * that is under way has to know of it.
 */
static void gate_look(struct mpip_gate *gate, unsigned int reason, bool look)
{
	spin_lock_bh(&gate->looks_lock);
	/* Others read it without the lock. */
	assign_bit(reason, &gate->looks, look);
	WRITE_ONCE(gate->quick_key, gate->looks ? gate->no_key :
						  gate->keys[0][IPPROTO_UDP]);
	spin_unlock_bh(&gate->looks_lock);
}

/* Datagrams may have to take something along. */
void mpip_shim_gate_riding(struct mpip_gate *gate, bool riding)
{
	gate_look(gate, MPIP_LOOK_RIDING, riding);
}

/* The @i-th socket that may send from an address that has gone; NULL for none. */
void mpip_shim_gate_lent(struct mpip_gate *gate, unsigned int i,
			 const void *sk)
{
	bool any = false;

	WRITE_ONCE(gate->lent[i], sk);
	for (i = 0; i < MPIP_MAX_LENT; i++)
		any |= !!gate->lent[i];
	gate_look(gate, MPIP_LOOK_LENT, any);
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
 * The hash of an IPv4 flow, from its addresses and the ports behind them. Each
 * packet of the host needs it, so it is no more than two products by secret
 * keys, which are odd, so that no bit is lost. Each half needs one: a slot holds
 * the hash and the time together, and flows whose hashes are next to each other
 * would be taken for each other a few jiffies later.
 */
static __always_inline u64 gate_hash4(const struct mpip_gate *gate, u64 key,
				      const void *ends)
{
	return get_unaligned((const u64 *)ends) * gate->addr_key +
	       get_unaligned((const u64 *)(ends + 4)) * key;
}

static __always_inline u64 gate_hash6(const struct mpip_gate *gate, u64 key,
				      const void *ends)
{
	const u64 *a = ends;
	u64 h = gate->addr_key;
	u32 ports = get_unaligned((const u32 *)(ends + 32));
	int i;

	for (i = 0; i < 4; i++) {
		u64 word = get_unaligned(a + i) ^ h, factor = gate->keys[0][i];

		h = word * factor ^ mul_u64_u64_shr(word, factor, 64);
	}
	return h * ((u64)ports << 1 ^ key);
}

/* Where a flow's slot is. The upper bits of products are their best. */
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
	if (*proto != IPPROTO_UDP) {
		if (*proto != IPPROTO_TCP)
			return true;
		if (linear < header + sizeof(struct tcphdr))
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

/* The key of a protocol and a direction. */
static __always_inline u64 gate_key(const struct mpip_gate *gate, bool in, u8 proto)
{
	return gate->keys[in][proto % GATE_KEYS];
}

/* The hash of the flow of such a packet, TCP or UDP. */
static __always_inline u64 gate_hash(const struct mpip_gate *gate, u64 key,
				     const struct sk_buff *skb, u8 family)
{
	return family == 4 ? gate_hash4(gate, key, skb->data + 12) :
			     gate_hash6(gate, key, skb->data + 8);
}

/* Whether Rust has just had nothing to do with the flow of such a packet. */
static __always_inline bool gate_passed(const struct mpip_gate *gate, bool in,
					const struct sk_buff *skb, u8 family,
					u8 proto)
{
	return gate_knows(gate, gate_hash(gate, gate_key(gate, in, proto), skb,
					  family));
}

/*
 * Whether there are a datagram's headers in the linear part of a packet, if it
 * has no options. Each packet of the host comes here, so that every instruction
 * counts.
 */
static __always_inline bool gate_is_datagram(const struct sk_buff *skb, u8 family)
{
	u32 header = family == 4 ? 20 : 40;

	return likely(skb_headlen(skb) >= header + sizeof(struct udphdr)) &&
	       skb->data[family == 4 ? 9 : 6] == IPPROTO_UDP;
}

/*
 * Whether an outgoing packet is a datagram that Rust need not see. Fragments it
 * leaves alone, so it does not matter what is taken for their ports. Nor does it
 * for what has options: that leaves as it is if it is taken for a flow that does.
 * While sources are lent, no datagram finds its slot.
 */
static __always_inline bool gate_lets_datagram_out(const struct mpip_gate *gate,
						   const struct sk_buff *skb,
						   u8 family)
{
	return gate_is_datagram(skb, family) &&
	       gate_knows(gate, gate_hash(gate, READ_ONCE(gate->quick_key), skb,
					  family));
}

/* Whether an outgoing packet is none that Rust has to see, as far as this is known at once. */
static bool gate_lets_out(const struct mpip_gate *gate, const struct sk_buff *skb,
			  const struct sock *sk, u8 family)
{
	const u8 *l4;
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4))
		return false;
	if (proto == IPPROTO_UDP) {
		/* The first of a flow, or one of those to be looked at. */
		if (!READ_ONCE(gate->looks) ||
		    test_bit(MPIP_LOOK_RIDING, &gate->looks) || gate_lent(gate, sk))
			return false;
	} else if (proto == IPPROTO_TCP) {
		if (((const struct tcphdr *)l4)->syn)
			return false;
	} else {
		return true;
	}
	return gate_passed(gate, false, skb, family, proto);
}

/*
 * Whether an incoming packet is a datagram that is neither part of a session,
 * nor of a form that a message of a stranger can have.
 */
static __always_inline bool gate_lets_datagram_in(const struct mpip_gate *gate,
						  const struct sk_buff *skb,
						  u8 family)
{
	u32 header = family == 4 ? 20 : 40;
	const struct udphdr *uh = (const struct udphdr *)(skb->data + header);

	if (!gate_is_datagram(skb, family) ||
	    (family == 4 && skb->data[0] != 0x45))
		return false;
	/* The longest packet has no more bytes than 16 bits count. */
	if (uh->len != htons((u16)(skb->len - header)) ||
	    uh->dest == READ_ONCE(gate->own_port))
		return false;
	/* The first packet of a new tuple may be on its way already. */
	return !atomic_read(&gate->tuples) ||
	       gate_passed(gate, true, skb, family, IPPROTO_UDP);
}

/* The same for other packets. */
static bool gate_lets_in(const struct mpip_gate *gate, const struct sk_buff *skb,
			 u8 family)
{
	u32 header = family == 4 ? 20 : 40;
	const struct tcphdr *th;
	const u8 *l4;
	u32 payload;
	u8 proto;

	if (!gate_parse(skb, family, &proto, &l4) || proto == IPPROTO_UDP)
		return false;
	/* ICMP errors about lanes. */
	if (proto != IPPROTO_TCP)
		return !atomic_read(&gate->lanes);
	th = (const struct tcphdr *)l4;
	payload = skb->len - header - th->doff * 4;
	if (th->syn || (payload && payload <= gate->max_cm))
		return false;
	return !atomic_read(&gate->tuples) ||
	       gate_passed(gate, true, skb, family, proto);
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
	hash = gate_hash(gate, gate_key(gate, in, proto), skb, family);
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
	u8 ends[16 + 16 + sizeof(ports[0])];
	u64 key, hash;
	int in;

	for (in = 0; in < 2; in++) {
		memcpy(ends, in ? flow->dst : flow->src, len);
		memcpy(ends + len, in ? flow->src : flow->dst, len);
		memcpy(ends + 2 * len, ports[in], sizeof(ports[in]));
		key = gate_key(gate, in, flow->proto);
		hash = v4 ? gate_hash4(gate, key, ends) :
			    gate_hash6(gate, key, ends);
		/* Another's has to be found anew, no more. */
		WRITE_ONCE(gate->slots[gate_slot(hash)], 0);
	}
}

/*
 * Apart, so that datagrams of strangers cost no more than they must; cold, so
 * that registers are saved here and not there. TCP comes in bursts: what its
 * segments cost matters less.
 */
static noinline __noclone __cold unsigned int
look_out(void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	 u8 family)
{
	const struct mpip_gate *gate = priv;

	if (gate_lets_out(gate, skb, state->sk, family))
		return NF_ACCEPT;
	return mpip_rs_post_routing(gate->instance, skb, state, family);
}

static unsigned int hook_out4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_datagram_out(priv, skb, 4)))
		return NF_ACCEPT;
	return look_out(priv, skb, state, 4);
}

static unsigned int hook_out6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_datagram_out(priv, skb, 6)))
		return NF_ACCEPT;
	return look_out(priv, skb, state, 6);
}

static noinline __noclone __cold unsigned int
look_in(void *priv, struct sk_buff *skb, const struct nf_hook_state *state,
	u8 family)
{
	const struct mpip_gate *gate = priv;

	if (gate_lets_in(gate, skb, family))
		return NF_ACCEPT;
	return mpip_rs_pre_routing(gate->instance, skb, state, family);
}

static unsigned int hook_pre4(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_datagram_in(priv, skb, 4)))
		return NF_ACCEPT;
	return look_in(priv, skb, state, 4);
}

static unsigned int hook_pre6(void *priv, struct sk_buff *skb,
			      const struct nf_hook_state *state)
{
	if (likely(gate_lets_datagram_in(priv, skb, 6)))
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

/*
 * At PRE_ROUTING: is the transport all that a packet would still meet which ends
 * here? Connection tracking, filters and counters have to see each byte.
 */
bool mpip_shim_rx_unwatched(const struct nf_hook_state *state)
{
	const struct netns_nf *nf = &state->net->nf;
	const struct nf_hook_entries *pre, *in;
	nf_hookfn *last, *only;

	if (state->pf == NFPROTO_IPV4) {
		pre = rcu_dereference(nf->hooks_ipv4[NF_INET_PRE_ROUTING]);
		in = rcu_dereference(nf->hooks_ipv4[NF_INET_LOCAL_IN]);
		last = hook_pre4;
		only = hook_in4;
	} else {
		pre = rcu_dereference(nf->hooks_ipv6[NF_INET_PRE_ROUTING]);
		in = rcu_dereference(nf->hooks_ipv6[NF_INET_LOCAL_IN]);
		last = hook_pre6;
		only = hook_in6;
	}
	return pre && pre->hooks[pre->num_hook_entries - 1].hook == last &&
	       in && in->num_hook_entries == 1 && in->hooks[0].hook == only;
}

/* Returns when no hook runs any more. */
void mpip_shim_hooks_unregister(struct net *net, struct mpip_hooks *hooks)
{
	nf_unregister_net_hooks(net, hooks->ops, hooks->n);
	synchronize_net();
	kfree(hooks);
}

#ifdef CONFIG_MPIP_KUNIT_TEST
/* How far the hashes of two packets' flows are apart. */
u64 mpip_test_gate_distance(const struct mpip_gate *gate, const struct sk_buff *a,
			    const struct sk_buff *b, u8 family, u8 proto, bool in)
{
	u64 key = gate_key(gate, in, proto);
	u64 d = gate_hash(gate, key, a, family) - gate_hash(gate, key, b, family);

	return min(d, -d);
}
#endif
