// SPDX-License-Identifier: GPL-2.0
/*
 * Sockets: ports that are reserved, what is known of a flow by its socket, and
 * what is done for a socket whose own way has gone.
 */
#include <linux/inetdevice.h>
#include <linux/net.h>
#include <linux/string.h>
#include <linux/tcp.h>
#include <net/dst.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/ip6_route.h>
#include <net/ipv6.h>
#include <net/route.h>
#include <net/tcp.h>
#include <net/udp.h>

#include "shims.h"

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
 * Who owns the tuple of an incoming TCP @flow: nobody, a connection that has
 * ended (TIME_WAIT), or one whose stream is then told. A request counts: it has
 * a stream as soon as the acknowledgment arrives that a message overtook.
 */
int mpip_shim_tcp_lookup(struct net *net, const struct mpip_flow *flow,
			 int ifindex, struct mpip_stream *stream)
{
	struct sock *sk;
	bool stream_known = true;

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
	if (sk->sk_state == TCP_NEW_SYN_RECV) {
		const struct tcp_request_sock *req = tcp_rsk(inet_reqsk(sk));

		stream->rcv_nxt = req->rcv_isn + 1;
		stream->snd_una = req->snt_isn + 1;
		stream->snd_nxt = stream->snd_una;
	} else if (sk_fullsock(sk)) {
		stream->rcv_nxt = READ_ONCE(tcp_sk(sk)->rcv_nxt);
		stream->snd_una = READ_ONCE(tcp_sk(sk)->snd_una);
		stream->snd_nxt = READ_ONCE(tcp_sk(sk)->snd_nxt);
	} else {
		stream_known = false;
	}
	sock_gen_put(sk);
	return stream_known ? MPIP_OWNER_STREAM : MPIP_OWNER_OTHER;
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

/* The socket of an outgoing @flow, with a reference. */
static struct sock *any_socket(struct net *net, const struct mpip_flow *flow)
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
	if (sk && !sk_fullsock(sk)) {
		sock_gen_put(sk);
		return NULL;
	}
	return sk;
}

/* The same, if it is connected and free to choose its way. */
struct sock *mpip_flow_socket(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk = any_socket(net, flow);

	if (!sk)
		return NULL;
	if (sk->sk_bound_dev_if ||
	    (flow->proto == IPPROTO_UDP && sk->sk_state != TCP_ESTABLISHED)) {
		sock_gen_put(sk);
		return NULL;
	}
	return sk;
}

/*
 * The user whose socket an outgoing @flow has, and its control group, with a
 * reference, if that is known. False if there is no socket of a user.
 */
bool mpip_shim_flow_owner(struct net *net, const struct mpip_flow *flow,
			  u32 *uid, void **cgroup)
{
	struct sock *sk = any_socket(net, flow);

	if (!sk)
		return false;
	*uid = from_kuid(net->user_ns, sk_uid(sk));
	*cgroup = mpip_shim_sock_cgroup(sk);
	sock_gen_put(sk);
	return true;
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
	if (pending != ICSK_TIME_RETRANS && pending != ICSK_TIME_PROBE0)
		return;
	/* What a queue of this host has refused it puts off without a retry. */
	if (pending == ICSK_TIME_RETRANS && !icsk->icsk_backoff &&
	    !icsk->icsk_retransmits)
		return;
	icsk->icsk_backoff = 0;
	if (tp->srtt_us)
		icsk->icsk_rto = clamp(__tcp_set_rto(tp), tcp_rto_min(sk),
				       tcp_rto_max(sk));
	else
		icsk->icsk_rto = TCP_TIMEOUT_INIT;
	tcp_reset_xmit_timer(sk, pending, 1, false);
}

/* Let TCP say again what it has received. */
static void repeat_ack(struct sock *sk)
{
	if ((1 << sk->sk_state) & (TCPF_CLOSE | TCPF_LISTEN | TCPF_SYN_SENT |
				   TCPF_SYN_RECV | TCPF_TIME_WAIT))
		return;
	__tcp_send_ack(sk, tcp_sk(sk)->rcv_nxt, 0);
}

/*
 * Have the socket of @flow, which has no route of its own any more, send by
 * @dst: the packets get as far as the hook at POST_ROUTING, which sends them
 * another way. True if the socket needed it. Process context.
 */
bool mpip_shim_sock_lend(struct net *net, const struct mpip_flow *flow,
			 const struct mpip_dst *dst)
{
	struct sock *sk = mpip_flow_socket(net, flow);
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
		if (sk->sk_protocol == IPPROTO_TCP) {
			wake_tcp(sk);
			/* Those that it had no route for are lost. */
			repeat_ack(sk);
		}
		lent = true;
	}
	release_sock(sk);
	sock_gen_put(sk);
	return lent;
}

/*
 * A UDP socket without a connection asks for a route with each datagram, and
 * for IPv4 there is none from an address that the host has not got. This is the
 * one of @flow, with a reference, if it is bound to the flow's address and free
 * to choose its way; else NULL.
 */
struct sock *mpip_shim_source_find(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk;
	__be32 local;

	if (flow->family != 4 || flow->proto != IPPROTO_UDP)
		return NULL;
	sk = any_socket(net, flow);
	if (!sk)
		return NULL;
	memcpy(&local, flow->src, sizeof(local));
	if (sk->sk_state != TCP_ESTABLISHED && !sk->sk_bound_dev_if &&
	    inet_sk(sk)->inet_saddr == local)
		return sk;
	sock_put(sk);
	return NULL;
}

/* Whether it may send from anywhere by its own right. Any context. */
bool mpip_shim_source_is_free(const struct sock *sk)
{
	return inet_test_bit(TRANSPARENT, sk);
}

/*
 * Let it send from anywhere, by @ifindex if it has chosen no interface. The
 * hooks see to it that it does not use that to forge addresses. True if it has
 * chosen none. Without the socket's lock, which who sends may hold as long as
 * it pleases: the option is set without it, too. Any context.
 */
bool mpip_shim_source_lend(struct sock *sk, int ifindex)
{
	inet_set_bit(TRANSPARENT, sk);
	return !cmpxchg(&inet_sk(sk)->uc_index, 0, ifindex);
}

/* Have it leave by another interface. Any context. */
void mpip_shim_source_direct(struct sock *sk, int from, int to)
{
	cmpxchg(&inet_sk(sk)->uc_index, from, to);
}

/* Whether its address has gone. Any context. */
bool mpip_shim_source_is_needed(const struct sock *sk)
{
	return inet_addr_type(sock_net(sk), inet_sk(sk)->inet_saddr) != RTN_LOCAL;
}

/* Whether anybody still has it open. Any context. */
bool mpip_shim_source_is_open(const struct sock *sk)
{
	return !sock_flag(sk, SOCK_DEAD);
}

/* Undo what mpip_shim_source_lend() has done; a route that it got so goes. */
void mpip_shim_source_take(struct sock *sk)
{
	inet_clear_bit(TRANSPARENT, sk);
	sk_dst_reset(sk);
}

/* The reference goes. */
void mpip_shim_source_put(struct sock *sk)
{
	sock_put(sk);
}

/*
 * Have TCP say again what it has received: its last acknowledgments may be
 * lost with a path, and the other end waits for them. Process context.
 */
void mpip_shim_sock_ack(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk = mpip_flow_socket(net, flow);

	if (!sk)
		return;
	lock_sock(sk);
	if (sk->sk_protocol == IPPROTO_TCP)
		repeat_ack(sk);
	release_sock(sk);
	sock_gen_put(sk);
}

/*
 * Have TCP send at once as many segments beyond its window as are acknowledged
 * in @us as a rule, because as many wait at the other end for something that is
 * sent again. Returns how many: none if the window is not what it waits for, is
 * about to double anyway, or does not say how much is in flight. Process context.
 */
u32 mpip_shim_sock_credit(struct net *net, const struct mpip_flow *flow, u32 us)
{
	struct sock *sk = mpip_flow_socket(net, flow);
	const struct inet_connection_sock *icsk;
	struct tcp_sock *tp;
	u32 more = 0;

	if (!sk)
		return 0;
	lock_sock(sk);
	icsk = inet_csk(sk);
	tp = tcp_sk(sk);
	if (us && sk->sk_protocol == IPPROTO_TCP &&
	    (1 << sk->sk_state) & (TCPF_ESTABLISHED | TCPF_CLOSE_WAIT) &&
	    icsk->icsk_ca_state == TCP_CA_Open && tp->is_cwnd_limited &&
	    !tcp_in_slow_start(tp) && !icsk->icsk_ca_ops->cong_control) {
		more = div_u64((u64)tcp_snd_cwnd(tp) * us,
			       max(tp->srtt_us >> 3, us));
		more = min(more, tp->snd_cwnd_clamp - min(tp->snd_cwnd_clamp,
							  tcp_snd_cwnd(tp)));
		tcp_snd_cwnd_set(tp, tcp_snd_cwnd(tp) + more);
		/* TCP sends when it gets its lock back. */
		if (more && !test_and_set_bit(TCP_TSQ_DEFERRED, &sk->sk_tsq_flags))
			sock_hold(sk);
	}
	release_sock(sk);
	sock_gen_put(sk);
	return more;
}

/* A way is open again: TCP need not wait for its timer. Process context. */
bool mpip_shim_sock_wake(struct net *net, const struct mpip_flow *flow)
{
	struct sock *sk = mpip_flow_socket(net, flow);

	if (!sk)
		return false;
	lock_sock(sk);
	if (sk->sk_protocol == IPPROTO_TCP)
		wake_tcp(sk);
	release_sock(sk);
	sock_gen_put(sk);
	return true;
}
