// SPDX-License-Identifier: GPL-2.0
/*
 * What a hook needs of the stack around it: which packets may be touched, what
 * their sockets and connection tracking know, and the way on.
 */
#include <linux/cgroup.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/math64.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/netfilter_ipv6.h>
#include <linux/skbuff.h>
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

/*
 * The oldest unacknowledged sequence number of the packet's own socket, and the
 * next one that it sends: this packet's, if that is new.
 */
bool mpip_shim_tx_sent(const struct sk_buff *skb, u32 *una, u32 *nxt)
{
	const struct sock *sk = skb->sk;

	if (!sk || !sk_fullsock(sk) || sk->sk_protocol != IPPROTO_TCP)
		return false;
	if ((1 << READ_ONCE(sk->sk_state)) &
	    (TCPF_LISTEN | TCPF_SYN_SENT | TCPF_SYN_RECV | TCPF_CLOSE))
		return false;
	*una = READ_ONCE(tcp_sk(sk)->snd_una);
	*nxt = READ_ONCE(tcp_sk(sk)->snd_nxt);
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

/*
 * Raise the slow start threshold a quarter above the window, or to @bytes, but
 * no higher than twice the window.
 */
void mpip_shim_tx_grow(const struct sk_buff *skb, u32 bytes)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	u32 now, want;

	if (!tp || inet_csk(skb->sk)->icsk_ca_state != TCP_CA_Open)
		return;
	now = tcp_snd_cwnd(tp);
	want = min(bytes / max(tp->mss_cache, 1U), 2 * now);
	want = max(want, now + now / 4);
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

/*
 * Make the window smaller by @segs, which mpip_shim_sock_credit() has added, but
 * not smaller than that of a new connection. If it was cut meanwhile because of
 * a loss, that was to be done to the window without them. False if the socket
 * may not be changed now.
 */
bool mpip_shim_tx_take_back(const struct sk_buff *skb, u32 segs)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	const struct inet_connection_sock *icsk;
	u32 now, before;

	if (!tp)
		return false;
	icsk = inet_csk(skb->sk);
	now = tcp_snd_cwnd(tp);
	before = icsk->icsk_ca_state < TCP_CA_CWR ? now : tp->prior_cwnd;
	before -= min(segs, before - min_t(u32, before, TCP_INIT_CWND));
	tcp_snd_cwnd_set(tp, before);
	if (icsk->icsk_ca_state >= TCP_CA_CWR) {
		tp->prior_cwnd = before;
		tp->snd_ssthresh = icsk->icsk_ca_ops->ssthresh(skb->sk);
		tcp_snd_cwnd_set(tp, min(now, before));
	}
	return true;
}

/*
 * Have RACK (RFC 8985) wait @us longer before it takes for lost what was sent
 * before this packet, until the recovery ends. It counts in quarters of the
 * least round trip, and does not wait for more than a smoothed one.
 */
void mpip_shim_tx_patience(const struct sk_buff *skb, u32 us)
{
	struct tcp_sock *tp = tx_locked_tcp(skb);
	u32 steps;

	if (!tp)
		return;
	steps = min(us / max(tcp_min_rtt(tp) >> 2, 1U) + 1, 0xffU);
	if (tp->rack.reo_wnd_steps >= steps)
		return;
	tp->rack.reo_wnd_steps = steps;
	if (!tp->rack.reo_wnd_persist)
		tp->rack.reo_wnd_persist = 1;
	/* Else there is no such wait in a recovery. */
	if (!tp->reord_seen)
		WRITE_ONCE(tp->reord_seen, 1);
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

/*
 * Append the data of @from, which lies behind @header bytes, to @to, whose
 * segments have @size bytes each; the checksums of both are known to be right.
 * False if they have to stay two packets; else @from is used up.
 */
bool mpip_shim_join(struct sk_buff *to, struct sk_buff *from, u32 header,
		    u32 size)
{
	struct skb_shared_info *shared;
	bool stolen;
	int more;

	if (skb_is_gso(from) || to->mark != from->mark ||
	    to->priority != from->priority || skb_cmp_decrypted(to, from) ||
	    skb_has_extensions(to) || skb_has_extensions(from))
		return false;
#ifdef CONFIG_NETWORK_SECMARK
	if (to->secmark != from->secmark)
		return false;
#endif
	if (skb_shared(to) || skb_shared(from))
		return false;
	/* Whoever else has the data must not see it grow. */
	if (skb_cloned(to) && pskb_expand_head(to, 0, 0, GFP_ATOMIC))
		return false;
	if (!pskb_may_pull(from, header))
		return false;
	__skb_pull(from, header);
	if (!skb_try_coalesce(to, from, &stolen, &more)) {
		__skb_push(from, header);
		return false;
	}
	kfree_skb_partial(from, stolen);
	shared = skb_shinfo(to);
	if (!shared->gso_size) {
		shared->gso_size = size;
		shared->gso_segs = 1;
		shared->gso_type = to->protocol == htons(ETH_P_IP) ?
				   SKB_GSO_TCPV4 : SKB_GSO_TCPV6;
	}
	shared->gso_segs++;
	to->ip_summed = CHECKSUM_UNNECESSARY;
	to->csum_level = 0;
	return true;
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
