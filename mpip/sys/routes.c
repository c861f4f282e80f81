// SPDX-License-Identifier: GPL-2.0
/*
 * Routes, addresses, devices and sockets.
 */
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/net.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <linux/tcp.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>
#include <net/rtnetlink.h>
#include <net/tcp.h>
#include <net/udp.h>

#include "shims.h"

/*
 * Whether a device puts packets into others of this host's. Modems are not told
 * from tunnels by their type, but by who made them.
 */
static bool is_tunnel(const struct net_device *dev)
{
	static const char * const kinds[] = {
		"wireguard", "tun", "ovpn", "xfrm", "vti", "vti6", "ipip",
		"sit", "ip6tnl", "gre", "ip6gre",
	};

	return dev->rtnl_link_ops &&
	       match_string(kinds, ARRAY_SIZE(kinds),
			    dev->rtnl_link_ops->kind) >= 0;
}

/*
 * What has the address of a tunnel does not leave by anything else. Under RCU.
 */
static bool leaves_tunnel4(struct net *net, __be32 saddr,
			   const struct net_device *out)
{
	const struct net_device *dev = __ip_dev_find(net, saddr, false);

	return dev && dev != out && is_tunnel(dev);
}

static bool leaves_tunnel6(struct net *net, const struct in6_addr *saddr,
			   const struct net_device *out)
{
	const struct net_device *dev = ipv6_dev_find(net, saddr, NULL);

	return dev && dev != out && is_tunnel(dev);
}

/*
 * With @ifindex, the way of a lane: looked up as root, without a mark, because
 * what rules make of those is about sockets and not about lanes. Without, the
 * way that the flow takes by itself: by the mark and the owner of @sk, its
 * socket, if it has one.
 */
static bool route_out4(struct net *net, int ifindex, const struct sock *sk,
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
	bool ok;

	if (sk) {
		fl4.flowi4_mark = READ_ONCE(sk->sk_mark);
		fl4.flowi4_uid = sk_uid(sk);
	}
	memcpy(&fl4.saddr, flow->src, sizeof(fl4.saddr));
	memcpy(&fl4.daddr, flow->dst, sizeof(fl4.daddr));
	if (ifindex) {
		/*
		 * Without a route the output lookup takes the destination for
		 * on-link; ask the tables first.
		 */
		struct fib_result res;

		rcu_read_lock();
		ok = !fib_lookup(net, &fl4, &res, 0) && res.type == RTN_UNICAST;
		rcu_read_unlock();
		if (!ok)
			return false;
	}
	rt = ip_route_output_flow(net, &fl4, NULL);
	if (IS_ERR(rt))
		return false;
	rcu_read_lock();
	ok = rt->rt_type == RTN_UNICAST && !dst_xfrm(&rt->dst) &&
	     (ifindex ? rt->dst.dev->ifindex == ifindex :
			!leaves_tunnel4(net, fl4.saddr, rt->dst.dev));
	rcu_read_unlock();
	if (!ok) {
		ip_rt_put(rt);
		return false;
	}
	out->dst = &rt->dst;
	out->cookie = 0;
	return true;
}

static bool route_out6(struct net *net, int ifindex, const struct sock *sk,
		       const struct mpip_flow *flow, struct mpip_dst *out)
{
	struct flowi6 fl6 = {
		.flowi6_oif = ifindex,
		.flowi6_proto = flow->proto,
		.fl6_sport = htons(flow->sport),
		.fl6_dport = htons(flow->dport),
	};
	struct dst_entry *dst;
	bool ok;

	if (sk) {
		fl6.flowi6_mark = READ_ONCE(sk->sk_mark);
		fl6.flowi6_uid = sk_uid(sk);
	}
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
	rcu_read_lock();
	ok = !dst->error && !dst_xfrm(dst) &&
	     !(dst->dev->flags & IFF_LOOPBACK) &&
	     (ifindex ? dst->dev->ifindex == ifindex :
			!leaves_tunnel6(net, &fl6.saddr, dst->dev));
	rcu_read_unlock();
	if (!ok) {
		dst_release(dst);
		return false;
	}
	out->dst = dst;
	out->cookie = rt6_get_cookie(dst_rt6_info(dst));
	return true;
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

/*
 * Whether a packet of a session that is at home on the device @ifindex is on
 * its way into a tunnel, by which rules have it go now.
 */
bool mpip_shim_skb_enters_tunnel(const struct sk_buff *skb, u32 ifindex)
{
	return (u32)skb->dev->ifindex != ifindex && is_tunnel(skb->dev);
}

/* Whether the device with this index puts packets into others. */
bool mpip_shim_is_tunnel(struct net *net, u32 ifindex)
{
	const struct net_device *dev;
	bool is;

	rcu_read_lock();
	dev = dev_get_by_index_rcu(net, ifindex);
	is = dev && is_tunnel(dev);
	rcu_read_unlock();
	return is;
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
		bool tunnel;

		if (dev->flags & IFF_LOOPBACK || !netif_running(dev) ||
		    !netif_carrier_ok(dev) || netif_is_l3_master(dev) ||
		    netif_is_l3_slave(dev))
			continue;
		tunnel = is_tunnel(dev);
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
					.tunnel = tunnel,
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
				.tunnel = tunnel,
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
	case NETDEV_CHANGENAME:
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
	w->dev.priority = INT_MIN;
	w->in4.priority = INT_MIN;
	w->in6.priority = INT_MIN;
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
	} else if (sk_fullsock(sk)) {
		stream->rcv_nxt = READ_ONCE(tcp_sk(sk)->rcv_nxt);
		stream->snd_una = READ_ONCE(tcp_sk(sk)->snd_una);
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

/* Whether @addr is one of this host: what comes for another is forwarded. */
bool mpip_shim_addr_is_local(struct net *net, u8 family, const u8 *addr)
{
	struct in6_addr a6;
	__be32 a4;

	if (family == 4) {
		memcpy(&a4, addr, sizeof(a4));
		return inet_addr_type(net, a4) == RTN_LOCAL;
	}
	memcpy(&a6, addr, sizeof(a6));
	return ipv6_chk_addr(net, &a6, NULL, 0);
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
static struct sock *flow_socket(struct net *net, const struct mpip_flow *flow)
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
 * The way from flow->src to flow->dst: of a lane by @ifindex alone or, if that
 * is 0, the one that the flow takes by itself.
 */
bool mpip_shim_route_out(struct net *net, int ifindex,
			 const struct mpip_flow *flow, struct mpip_dst *out)
{
	struct sock *sk = ifindex ? NULL : flow_socket(net, flow);
	bool found;

	found = flow->family == 4 ? route_out4(net, ifindex, sk, flow, out) :
				    route_out6(net, ifindex, sk, flow, out);
	if (sk)
		sock_gen_put(sk);
	return found;
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
	struct sock *sk = flow_socket(net, flow);

	if (!sk)
		return;
	lock_sock(sk);
	if (sk->sk_protocol == IPPROTO_TCP)
		repeat_ack(sk);
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
