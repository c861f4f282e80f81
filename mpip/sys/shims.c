// SPDX-License-Identifier: GPL-2.0
/*
 * Shims over kernel inlines and macros. No decision of the protocol is made
 * here: each function does one thing that Rust cannot express.
 *
 * This file has contexts, crypto and packets; gate.c, hooks.c, routes.c,
 * services.c and sockets.c have the rest of shims.h.
 */
#include <linux/delay.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/jiffies.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/netfilter.h>
#include <linux/percpu.h>
#include <linux/prefetch.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/siphash.h>
#include <linux/skbuff.h>
#include <linux/spinlock.h>
#include <linux/tcp.h>
#include <linux/unaligned.h>
#include <net/dst.h>
#include <net/gso.h>
#include <net/ip.h>
#include <net/tcp.h>
#include <crypto/blake2s.h>
#include <crypto/curve25519.h>

#include "shims.h"

/* Contexts, clocks, randomness, memory */

void mpip_shim_lock_bh(struct spinlock *lock)
{
	spin_lock_bh(lock);
}

bool mpip_shim_trylock_bh(struct spinlock *lock)
{
	return spin_trylock_bh(lock);
}

void mpip_shim_unlock_bh(struct spinlock *lock)
{
	spin_unlock_bh(lock);
}

u64 mpip_shim_now_us(void)
{
	return ktime_to_us(ktime_get());
}

/* prefetch_range() does nothing where prefetch() is the compiler's, as on x86-64. */
void mpip_shim_prefetch(const void *at, size_t len)
{
	const void *end = at + len;

	for (at = PTR_ALIGN_DOWN(at, L1_CACHE_BYTES); at < end; at += L1_CACHE_BYTES)
		prefetch(at);
}

u32 mpip_shim_coarse_ms(void)
{
#if !(MSEC_PER_SEC % HZ)
	/* Both are modulo 2^32. */
	return (u32)jiffies * (MSEC_PER_SEC / HZ);
#else
	return ktime_to_ms(ktime_get_coarse());
#endif
}

/* Goes on while the machine sleeps. */
u64 mpip_shim_boot_ms(void)
{
	return ktime_to_ms(ktime_get_boottime());
}

/* The index of the interface with this name; 0 if there is none. */
u32 mpip_shim_dev_index(struct net *net, const char *name)
{
	const struct net_device *dev;
	u32 index;

	rcu_read_lock();
	dev = dev_get_by_name_rcu(net, name);
	index = dev ? dev->ifindex : 0;
	rcu_read_unlock();
	return index;
}

/* The name of an interface, of IFNAMSIZ bytes; false if it is not there. */
bool mpip_shim_dev_name(struct net *net, u32 index, char *name)
{
	const struct net_device *dev;

	rcu_read_lock();
	dev = dev_get_by_index_rcu(net, index);
	if (dev)
		strscpy(name, dev->name, IFNAMSIZ);
	rcu_read_unlock();
	return dev;
}

/* What it has carried both ways, bytes; false if it is not there. */
bool mpip_shim_dev_bytes(struct net *net, u32 index, u64 *bytes)
{
	struct rtnl_link_stats64 stats;
	struct net_device *dev;

	rcu_read_lock();
	dev = dev_get_by_index_rcu(net, index);
	if (dev) {
		dev_get_stats(dev, &stats);
		*bytes = stats.rx_bytes + stats.tx_bytes;
	}
	rcu_read_unlock();
	return dev;
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
	/* The table's nodes have room for one. */
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

/* A number on each CPU, opaque to Rust: its address means nothing by itself. */

static u64 __percpu *count_of(void *count)
{
	return (u64 __percpu *)(__force unsigned long)count;
}

void *mpip_shim_count_new(void)
{
	return (void *)(__force unsigned long)alloc_percpu(u64);
}

void mpip_shim_count_free(void *count)
{
	free_percpu(count_of(count));
}

void mpip_shim_count_add(void *count, u64 n)
{
	this_cpu_add(*count_of(count), n);
}

u64 mpip_shim_count_sum(void *count)
{
	u64 sum = 0;
	int cpu;

	for_each_possible_cpu(cpu)
		sum += READ_ONCE(*per_cpu_ptr(count_of(count), cpu));
	return sum;
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

const struct mpip_skb_at mpip_skb_at = {
	.len = offsetof(struct sk_buff, len),
	.data_len = offsetof(struct sk_buff, data_len),
	.data = offsetof(struct sk_buff, data),
};

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
	/* To the function, what does not fit an int is before the data. */
	return off <= skb->len && len <= skb->len - off &&
	       !skb_copy_bits(skb, off, to, len);
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
 * A copy that shares the data's pages with @skb and pins nothing else: no route,
 * no conntrack, no device. The list of pages is its own. TCP does not look for
 * clones of what it takes for not sent, because a queue of this host has refused
 * it: it cuts that anew, and a clone would be left with pages that it has not.
 */
struct sk_buff *mpip_shim_skb_keep(struct sk_buff *skb)
{
	struct sk_buff *kept = pskb_copy(skb, GFP_ATOMIC | __GFP_NOWARN);

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

/*
 * Has packets that receive offload has merged come in one by one, as if it had
 * not. In a hook that packets come in by, in softirq. Consumes @skb unless it
 * returns false, for want of memory.
 */
bool mpip_shim_skb_receive_apart(struct sk_buff *skb)
{
	unsigned int mac_len = skb->data - skb_mac_header(skb);
	struct sk_buff *segs, *next;

	__skb_push(skb, mac_len);
	segs = skb_gso_segment(skb, 0);
	if (IS_ERR_OR_NULL(segs)) {
		__skb_pull(skb, mac_len);
		return false;
	}
	/* What is a list of packets is the first of them now, and held once more for that. */
	consume_skb(skb);
	skb_list_walk_safe(segs, skb, next) {
		skb_mark_not_on_list(skb);
		__skb_pull(skb, mac_len);
		netif_receive_skb(skb);
	}
	return true;
}

struct sk_buff *mpip_shim_skb_next_unlink(struct sk_buff *skb)
{
	struct sk_buff *next = skb->next;

	skb_mark_not_on_list(skb);
	return next;
}
