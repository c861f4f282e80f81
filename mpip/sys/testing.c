// SPDX-License-Identifier: GPL-2.0
/*
 * Packets of every make for the KUnit suites, a device that merges them (GRO),
 * and the hooks as the stack calls them.
 */
#include <linux/completion.h>
#include <linux/if_arp.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jhash.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/rtnetlink.h>
#include <linux/skbuff.h>
#include <net/dst.h>
#include <net/gro.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/ip6_checksum.h>
#include <net/route.h>

#include "shims.h"

/* Packets */

/*
 * A packet of @len bytes: the first @linear of them in its head, the rest in
 * pages of its own with at most @page bytes in each.
 */
struct sk_buff *mpip_test_skb(const u8 *bytes, u32 len, u32 linear, u32 page,
			      u32 headroom)
{
	struct sk_buff *skb;
	u32 at, n;

	linear = min(linear, len);
	if (len > linear &&
	    (!page || page > PAGE_SIZE ||
	     DIV_ROUND_UP(len - linear, page) > MAX_SKB_FRAGS))
		return NULL;
	skb = alloc_skb(headroom + linear, GFP_KERNEL);
	if (!skb)
		return NULL;
	skb_reserve(skb, headroom);
	skb_put_data(skb, bytes, linear);
	for (at = linear; at < len; at += n) {
		struct page *p = alloc_page(GFP_KERNEL);

		if (!p) {
			kfree_skb(skb);
			return NULL;
		}
		n = min(page, len - at);
		memcpy(page_address(p) + PAGE_SIZE - n, bytes + at, n);
		skb_add_rx_frag(skb, skb_shinfo(skb)->nr_frags, p,
				PAGE_SIZE - n, n, PAGE_SIZE);
	}
	skb->protocol = htons(bytes[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	skb_reset_mac_header(skb);
	skb_reset_mac_len(skb);
	skb_reset_network_header(skb);
	skb_set_transport_header(skb, bytes[0] >> 4 == 4 ?
				 (bytes[0] & 15) * 4 : 40);
	return skb;
}

/* As TCP does when it sends: another header, the same data. */
struct sk_buff *mpip_test_clone(struct sk_buff *skb)
{
	return skb_clone(skb, GFP_KERNEL);
}

/*
 * As TCP does with what it takes for not sent: the first @len bytes are left,
 * and nobody asks who else has the packet.
 */
bool mpip_test_cut_off(struct sk_buff *skb, u32 len)
{
	struct sk_buff *rest = alloc_skb(skb->len, GFP_KERNEL);

	if (!rest)
		return false;
	skb_split(skb, rest, len);
	kfree_skb(rest);
	return true;
}

void mpip_test_look(const struct sk_buff *skb, struct mpip_test_facts *facts)
{
	const struct skb_shared_info *info = skb_shinfo(skb);
	const struct sk_buff *part;
	int i;

	memset(facts, 0, sizeof(*facts));
	facts->len = skb->len;
	facts->headlen = skb_headlen(skb);
	facts->gso_size = info->gso_size;
	facts->gso_segs = info->gso_segs;
	facts->gso_type = info->gso_type;
	if (skb->ip_summed == CHECKSUM_PARTIAL) {
		facts->csum_start = skb_checksum_start_offset(skb);
		facts->csum_offset = skb->csum_offset;
	}
	facts->headroom = skb_headroom(skb);
	facts->cloned = skb_cloned(skb);
	facts->listed = skb_has_frag_list(skb);
	for (i = 0; i < info->nr_frags; i++) {
		u64 at[3] = {
			(unsigned long)skb_frag_address(&info->frags[i]),
			skb_frag_size(&info->frags[i]),
			facts->place,
		};

		facts->frags++;
		facts->place = jhash(at, sizeof(at), 0);
	}
	skb_walk_frags(skb, part) {
		u64 at[3] = {
			(unsigned long)part->data, part->len, facts->place,
		};

		facts->frags++;
		facts->place = jhash(at, sizeof(at), 1);
	}
}

/* The checksum is left to the device, as TCP does. The field has its seed. */
void mpip_test_partial(struct sk_buff *skb, u32 start, u32 offset)
{
	skb->ip_summed = CHECKSUM_PARTIAL;
	skb->csum_start = skb_headroom(skb) + start;
	skb->csum_offset = offset;
}

/* The device has summed all of it up. */
void mpip_test_complete(struct sk_buff *skb)
{
	skb->csum = skb_checksum(skb, 0, skb->len, 0);
	skb->ip_summed = CHECKSUM_COMPLETE;
}

void mpip_test_gso(struct sk_buff *skb, u32 size, u32 segs, u8 family, u8 proto)
{
	struct skb_shared_info *info = skb_shinfo(skb);

	info->gso_size = size;
	info->gso_segs = segs;
	if (proto == IPPROTO_UDP)
		info->gso_type = SKB_GSO_UDP_L4;
	else
		info->gso_type = family == 4 ? SKB_GSO_TCPV4 : SKB_GSO_TCPV6;
}

/*
 * Whether the sum in the packet is right: over everything from @l4 to @end and
 * the addresses, computed anew.
 */
bool mpip_test_sum_ok(const struct sk_buff *skb, u32 l4, u32 end, u8 proto,
		      u8 family)
{
	u8 header[40];
	__wsum sum;

	if (end > skb->len || end < l4 ||
	    skb_copy_bits(skb, 0, header, family == 4 ? 20 : 40))
		return false;
	sum = skb_checksum(skb, l4, end - l4, 0);
	if (family == 4) {
		const struct iphdr *iph = (const struct iphdr *)header;

		return !csum_tcpudp_magic(iph->saddr, iph->daddr, end - l4,
					  proto, sum);
	}
	return !csum_ipv6_magic(&((const struct ipv6hdr *)header)->saddr,
				&((const struct ipv6hdr *)header)->daddr,
				end - l4, proto, sum);
}

/* IPv4: the header's own sum is right, and its length that of the packet. */
bool mpip_test_header_ok(const struct sk_buff *skb)
{
	const struct iphdr *iph = (const struct iphdr *)skb->data;

	if (iph->version != 4)
		return ntohs(((const struct ipv6hdr *)iph)->payload_len) + 40 ==
		       skb->len;
	return !ip_fast_csum((const u8 *)iph, iph->ihl) &&
	       ntohs(iph->tot_len) == skb->len;
}

/* Whether what the device has summed up is still the sum of the packet. */
bool mpip_test_ip_summed_ok(struct sk_buff *skb)
{
	return skb->ip_summed != CHECKSUM_COMPLETE ||
	       csum_fold(skb->csum) == csum_fold(skb_checksum(skb, 0, skb->len, 0));
}

/* A device: what it receives goes through GRO, and is kept. */

struct mpip_test_dev {
	struct net_device *dev;
	struct napi_struct napi;
	struct completion polled;
	struct sk_buff_head wire; /* to be received */
	struct sk_buff_head kept; /* has been */
};

struct test_priv {
	struct mpip_test_dev *test;
};

static netdev_tx_t test_xmit(struct sk_buff *skb, struct net_device *dev)
{
	consume_skb(skb);
	return NETDEV_TX_OK;
}

static const struct net_device_ops test_ops = {
	.ndo_start_xmit = test_xmit,
};

static void test_setup(struct net_device *dev)
{
	dev->netdev_ops = &test_ops;
	dev->type = ARPHRD_NONE;
	dev->mtu = ETH_DATA_LEN;
	dev->min_mtu = 0;
	dev->max_mtu = 0;
	dev->flags = IFF_NOARP | IFF_POINTOPOINT;
	dev->features = NETIF_F_GRO;
	dev->hw_features = NETIF_F_GRO;
	dev->tx_queue_len = 1;
}

static int test_poll(struct napi_struct *napi, int budget)
{
	struct mpip_test_dev *test = container_of(napi, struct mpip_test_dev, napi);
	struct sk_buff *skb;
	int done = 0;

	while (done < budget && (skb = skb_dequeue(&test->wire))) {
		napi_gro_receive(napi, skb);
		done++;
	}
	if (done < budget) {
		napi_complete_done(napi, done);
		complete(&test->polled);
	}
	return done;
}

static rx_handler_result_t test_keep(struct sk_buff **pskb)
{
	struct test_priv *priv = netdev_priv((*pskb)->dev);

	skb_queue_tail(&priv->test->kept, *pskb);
	return RX_HANDLER_CONSUMED;
}

struct mpip_test_dev *mpip_test_dev_new(void)
{
	struct mpip_test_dev *test = kzalloc(sizeof(*test), GFP_KERNEL);
	struct net_device *dev;
	int err;

	if (!test)
		return NULL;
	dev = alloc_netdev(sizeof(struct test_priv), "mpiptest%d",
			   NET_NAME_ENUM, test_setup);
	if (!dev) {
		kfree(test);
		return NULL;
	}
	((struct test_priv *)netdev_priv(dev))->test = test;
	test->dev = dev;
	init_completion(&test->polled);
	skb_queue_head_init(&test->wire);
	skb_queue_head_init(&test->kept);
	netif_napi_add(dev, &test->napi, test_poll);
	if (register_netdev(dev)) {
		netif_napi_del(&test->napi);
		free_netdev(dev);
		kfree(test);
		return NULL;
	}
	napi_enable(&test->napi);
	rtnl_lock();
	err = netdev_rx_handler_register(dev, test_keep, NULL);
	rtnl_unlock();
	if (err) {
		mpip_test_dev_free(test);
		return NULL;
	}
	return test;
}

void mpip_test_dev_free(struct mpip_test_dev *test)
{
	napi_disable(&test->napi);
	rtnl_lock();
	netdev_rx_handler_unregister(test->dev);
	rtnl_unlock();
	skb_queue_purge(&test->wire);
	skb_queue_purge(&test->kept);
	unregister_netdev(test->dev);
	netif_napi_del(&test->napi);
	free_netdev(test->dev);
	kfree(test);
}

static void test_enter(struct mpip_test_dev *test, struct sk_buff *skb)
{
	skb->dev = test->dev;
	skb->skb_iif = 0;
	skb->pkt_type = PACKET_HOST;
}

/* To be received with the next poll. */
void mpip_test_dev_receive(struct mpip_test_dev *test, struct sk_buff *skb)
{
	test_enter(test, skb);
	skb_queue_tail(&test->wire, skb);
}

/* Have the kernel poll the device; false if it does not. */
bool mpip_test_dev_poll(struct mpip_test_dev *test)
{
	reinit_completion(&test->polled);
	local_bh_disable();
	napi_schedule(&test->napi);
	local_bh_enable();
	return wait_for_completion_timeout(&test->polled, 10 * HZ);
}

/* What came out, with its data at the IP header. */
struct sk_buff *mpip_test_dev_take(struct mpip_test_dev *test)
{
	return skb_dequeue(&test->kept);
}

/* Hooks */

struct net *mpip_test_net(void)
{
	return &init_net;
}

/* Whether a hook is registered at this place. */
bool mpip_test_hooked(u8 family, unsigned int hook, int priority)
{
	const struct nf_hook_entries *entries;
	bool found = false;
	unsigned int i;

	rcu_read_lock();
	entries = family == 4 ? rcu_dereference(init_net.nf.hooks_ipv4[hook]) :
				rcu_dereference(init_net.nf.hooks_ipv6[hook]);
	for (i = 0; entries && i < entries->num_hook_entries; i++) {
		const struct nf_hook_ops *op =
			READ_ONCE(nf_hook_entries_get_hook_ops(entries)[i]);

		found |= op->priority == priority;
	}
	rcu_read_unlock();
	return found;
}

/* A route out of the device that nobody else knows. */
static bool test_route(struct mpip_test_dev *test, struct sk_buff *skb,
		       unsigned int flags)
{
	struct rtable *rt = rt_dst_alloc(test->dev, flags, RTN_UNICAST, true);

	if (!rt)
		return false;
	skb_dst_drop(skb);
	skb_dst_set(skb, &rt->dst);
	return true;
}

/* Ask whether a packet may be touched that has this flaw. */
bool mpip_test_eligible(struct mpip_test_dev *test, struct sk_buff *skb,
			bool out, u8 flaw)
{
	struct nf_hook_state state = {};
	const u32 marks = 0x1effff;
	unsigned int flags = 0;
	bool routed = out;
	bool eligible;

	test_enter(test, skb);
	memset(skb->cb, 0, sizeof(skb->cb));
	state.net = &init_net;
	state.in = out ? NULL : test->dev;
	state.out = out ? test->dev : NULL;
	if (flaw == MPIP_TEST_BROADCAST)
		flags = RTCF_BROADCAST;
	if (flaw == MPIP_TEST_MULTICAST)
		flags = RTCF_MULTICAST;
	if (flaw == MPIP_TEST_LOCAL)
		flags = RTCF_LOCAL;
	/* One that goes out has a route, one that comes in has none yet. */
	if (flaw == MPIP_TEST_NO_ROUTE)
		routed = !out;
	if (routed && !test_route(test, skb, flags))
		return false;
	switch (flaw) {
	case MPIP_TEST_MARK:
		skb->mark = 0x10001;
		break;
	case MPIP_TEST_KNOWN_MARK:
		skb->mark = marks;
		break;
	case MPIP_TEST_PASSING:
		skb->skb_iif = test->dev->ifindex;
		break;
	case MPIP_TEST_TUNNELLED:
		skb->encapsulation = 1;
		break;
	case MPIP_TEST_FORWARDED:
		if (skb->protocol == htons(ETH_P_IP))
			IPCB(skb)->flags |= IPSKB_FORWARDED;
		else
			IP6CB(skb)->flags |= IP6SKB_FORWARDED;
		break;
	case MPIP_TEST_TRANSFORMED:
		if (skb->protocol == htons(ETH_P_IP))
			IPCB(skb)->flags |= IPSKB_XFRM_TRANSFORMED;
		else
			IP6CB(skb)->flags |= IP6SKB_XFRM_TRANSFORMED;
		break;
	case MPIP_TEST_NO_DEVICE:
		state.in = NULL;
		state.out = NULL;
		break;
	case MPIP_TEST_LOOPBACK:
		if (out)
			state.out = init_net.loopback_dev;
		else
			state.in = init_net.loopback_dev;
		break;
	case MPIP_TEST_OTHER_HOST:
		skb->pkt_type = PACKET_OTHERHOST;
		break;
	case MPIP_TEST_PROTOCOL:
		skb->protocol = htons(ETH_P_ARP);
		break;
	}
	rcu_read_lock();
	eligible = out ? mpip_shim_tx_eligible(skb, &state, marks) :
			 mpip_shim_rx_eligible(skb, &state);
	rcu_read_unlock();
	skb_dst_drop(skb);
	skb->mark = 0;
	skb->encapsulation = 0;
	skb->protocol = htons(skb->data[0] >> 4 == 4 ? ETH_P_IP : ETH_P_IPV6);
	return eligible;
}

static int test_okfn(struct net *net, struct sock *sk, struct sk_buff *skb)
{
	struct test_priv *priv = netdev_priv(skb->dev);

	skb_dst_drop(skb);
	skb_queue_tail(&priv->test->kept, skb);
	return 0;
}

/* What is left of a packet that passed the hooks, as the stack would have it. */
static bool test_passed(struct mpip_test_dev *test, struct sk_buff *skb, int ret)
{
	if (ret != 1)
		return false;
	skb_dst_drop(skb);
	skb_queue_tail(&test->kept, skb);
	return true;
}

/* Have a packet leave; the hooks own it. True if it got through. */
bool mpip_test_send(struct mpip_test_dev *test, struct sk_buff *skb, u8 family)
{
	skb->dev = test->dev;
	if (!test_route(test, skb, 0)) {
		kfree_skb(skb);
		return false;
	}
	memset(skb->cb, 0, sizeof(skb->cb));
	return test_passed(test, skb,
			   nf_hook(family == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6,
				   NF_INET_POST_ROUTING, &init_net, NULL, skb,
				   NULL, test->dev, test_okfn));
}

/* Have a packet come in, up to the routing decision. True if it got through. */
bool mpip_test_arrive(struct mpip_test_dev *test, struct sk_buff *skb,
		      u8 family)
{
	int ret;

	test_enter(test, skb);
	memset(skb->cb, 0, sizeof(skb->cb));
	local_bh_disable();
	ret = nf_hook(family == 4 ? NFPROTO_IPV4 : NFPROTO_IPV6,
		      NF_INET_PRE_ROUTING, &init_net, NULL, skb, test->dev,
		      NULL, test_okfn);
	local_bh_enable();
	return test_passed(test, skb, ret);
}

/*
 * Hold a packet beyond a hook and let go of it. If its device is @gone
 * meanwhile, for others, it may not go on. The packet is used up.
 */
bool mpip_test_hold(struct mpip_test_dev *test, struct sk_buff *skb, bool gone)
{
	struct nf_hook_state state = {
		.hook = NF_INET_LOCAL_IN,
		.pf = NFPROTO_IPV4,
		.in = test->dev,
		.net = &init_net,
		.okfn = test_okfn,
	};
	struct mpip_held held;
	bool ok;

	test_enter(test, skb);
	rcu_read_lock();
	ok = test_route(test, skb, 0) && mpip_shim_hold(skb, &state, &held);
	rcu_read_unlock();
	if (!ok) {
		kfree_skb(skb);
		return false;
	}
	if (gone)
		held.ifindex = init_net.loopback_dev->ifindex;
	mpip_shim_release(&init_net, &held);
	return true;
}
