// SPDX-License-Identifier: GPL-2.0
/*
 * Routes, addresses and devices.
 */
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/netdevice.h>
#include <linux/skbuff.h>
#include <linux/string.h>
#include <net/addrconf.h>
#include <net/dst.h>
#include <net/ip.h>
#include <net/ip6_fib.h>
#include <net/ip6_route.h>
#include <net/ip_fib.h>
#include <net/ipv6.h>
#include <net/l3mdev.h>
#include <net/route.h>
#include <net/rtnetlink.h>

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

/*
 * The way from flow->src to flow->dst: of a lane by @ifindex alone or, if that
 * is 0, the one that the flow takes by itself.
 */
bool mpip_shim_route_out(struct net *net, int ifindex,
			 const struct mpip_flow *flow, struct mpip_dst *out)
{
	struct sock *sk = ifindex ? NULL : mpip_flow_socket(net, flow);
	bool found;

	found = flow->family == 4 ? route_out4(net, ifindex, sk, flow, out) :
				    route_out6(net, ifindex, sk, flow, out);
	if (sk)
		sock_gen_put(sk);
	return found;
}
