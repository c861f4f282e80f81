/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the KUnit suites need of the kernel: packets of every make, a device
 * that merges them, and the hooks as the stack calls them.
 */
#ifndef _MPIP_TESTING_H
#define _MPIP_TESTING_H

#include <linux/types.h>

struct sk_buff;
struct net;
struct mpip_gate;
struct mpip_test_dev;

/* What can be seen of a packet besides its bytes. */
struct mpip_test_facts {
	u32 len;
	u32 headlen;
	u32 frags; /* pages, and packets that hang on it */
	u32 place; /* a hash of where these are */
	u32 gso_size;
	u32 gso_segs;
	u32 gso_type;
	u32 csum_start; /* from the data on */
	u32 csum_offset;
	u32 headroom;
	bool cloned;
	bool listed; /* has packets that hang on it */
};

/* In which way a packet is not to be touched; see tx_eligible and rx_eligible. */
enum mpip_test_flaw {
	MPIP_TEST_SOUND,
	MPIP_TEST_MARK,
	MPIP_TEST_KNOWN_MARK,
	MPIP_TEST_PASSING,
	MPIP_TEST_TUNNELLED,
	MPIP_TEST_FORWARDED,
	MPIP_TEST_TRANSFORMED,
	MPIP_TEST_BROADCAST,
	MPIP_TEST_MULTICAST,
	MPIP_TEST_LOCAL,
	MPIP_TEST_NO_ROUTE,
	MPIP_TEST_NO_DEVICE,
	MPIP_TEST_LOOPBACK,
	MPIP_TEST_OTHER_HOST,
	MPIP_TEST_PROTOCOL,
};

struct sk_buff *mpip_test_skb(const u8 *bytes, u32 len, u32 linear, u32 page,
			      u32 headroom);
struct sk_buff *mpip_test_clone(struct sk_buff *skb);
bool mpip_test_cut_off(struct sk_buff *skb, u32 len);
void mpip_test_look(const struct sk_buff *skb, struct mpip_test_facts *facts);
void mpip_test_partial(struct sk_buff *skb, u32 start, u32 offset);
void mpip_test_complete(struct sk_buff *skb);
void mpip_test_gso(struct sk_buff *skb, u32 size, u32 segs, u8 family, u8 proto);
bool mpip_test_sum_ok(const struct sk_buff *skb, u32 l4, u32 end, u8 proto,
		      u8 family);
bool mpip_test_header_ok(const struct sk_buff *skb);
/* In gate.c. */
u64 mpip_test_gate_distance(const struct mpip_gate *gate, const struct sk_buff *a,
			    const struct sk_buff *b, u8 family, u8 proto, bool in);
bool mpip_test_ip_summed_ok(struct sk_buff *skb);

struct mpip_test_dev *mpip_test_dev_new(void);
void mpip_test_dev_free(struct mpip_test_dev *dev);
void mpip_test_dev_receive(struct mpip_test_dev *dev, struct sk_buff *skb);
bool mpip_test_dev_poll(struct mpip_test_dev *dev);
struct sk_buff *mpip_test_dev_take(struct mpip_test_dev *dev);

struct net *mpip_test_net(void);
bool mpip_test_hooked(u8 family, unsigned int hook, int priority);
bool mpip_test_eligible(struct mpip_test_dev *dev, struct sk_buff *skb,
			bool out, u8 flaw);
bool mpip_test_send(struct mpip_test_dev *dev, struct sk_buff *skb, u8 family);
bool mpip_test_arrive(struct mpip_test_dev *dev, struct sk_buff *skb,
		      u8 family);
bool mpip_test_hold(struct mpip_test_dev *dev, struct sk_buff *skb, bool gone);

#endif /* _MPIP_TESTING_H */
