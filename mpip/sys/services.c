// SPDX-License-Identifier: GPL-2.0
/*
 * Timers, work, network namespaces and generic netlink.
 */
#include <linux/hrtimer.h>
#include <linux/percpu.h>
#include <linux/spinlock.h>
#include <linux/workqueue.h>
#include <net/genetlink.h>
#include <net/netns/generic.h>
#include <net/sock.h>

#include "shims.h"
#include "../uapi/netlink_gen.h"

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

/*
 * Ends of bursts. A driver hands in packets one by one and nobody tells which is
 * the last, but works of softirqs run when the round that received them is over.
 */

/* More connections at a time than these are not in a hurry. */
#define MPIP_BURST_SESSIONS 16

struct mpip_burst {
	/* Who has it is nearly always the processor whose it is. */
	spinlock_t lock;
	struct work_struct work;
	void *instance;
	u32 count;
	void *sessions[MPIP_BURST_SESSIONS];
};

static struct mpip_burst __percpu *bursts_of(struct mpip_bursts *bursts)
{
	return (struct mpip_burst __percpu *)(__force unsigned long)bursts;
}

static void burst_over(struct work_struct *work)
{
	struct mpip_burst *burst = container_of(work, struct mpip_burst, work);
	void *sessions[MPIP_BURST_SESSIONS];
	u32 count, i;

	spin_lock_bh(&burst->lock);
	count = burst->count;
	memcpy(sessions, burst->sessions, count * sizeof(sessions[0]));
	burst->count = 0;
	spin_unlock_bh(&burst->lock);
	for (i = 0; i < count; i++)
		mpip_rs_burst_over(burst->instance, sessions[i]);
}

struct mpip_bursts *mpip_shim_bursts_new(void)
{
	struct mpip_burst __percpu *all = alloc_percpu(struct mpip_burst);
	int cpu;

	if (!all)
		return NULL;
	for_each_possible_cpu(cpu) {
		struct mpip_burst *burst = per_cpu_ptr(all, cpu);

		spin_lock_init(&burst->lock);
		INIT_WORK(&burst->work, burst_over);
	}
	return (struct mpip_bursts *)(__force unsigned long)all;
}

/*
 * Have mpip_rs_burst_over() called for @session, which is kept till then, after
 * the burst that this processor is receiving; false if there are too many.
 */
bool mpip_shim_bursts_add(struct mpip_bursts *bursts, void *instance,
			  void *session)
{
	struct mpip_burst *burst = raw_cpu_ptr(bursts_of(bursts));
	bool fits;

	spin_lock_bh(&burst->lock);
	fits = burst->count < MPIP_BURST_SESSIONS;
	if (fits) {
		/* The same each time. */
		burst->instance = instance;
		burst->sessions[burst->count++] = session;
	}
	spin_unlock_bh(&burst->lock);
	if (fits)
		queue_work(system_bh_wq, &burst->work);
	return fits;
}

/* Wait until what was added is done. Process context. */
void mpip_shim_bursts_flush(struct mpip_bursts *bursts)
{
	int cpu;

	for_each_possible_cpu(cpu)
		flush_work(&per_cpu_ptr(bursts_of(bursts), cpu)->work);
}

void mpip_shim_bursts_free(struct mpip_bursts *bursts)
{
	free_percpu(bursts_of(bursts));
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
