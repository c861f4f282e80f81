/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/mpip.yaml */
/* YNL-GEN kernel header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _LINUX_MPIP_GEN_H
#define _LINUX_MPIP_GEN_H

#include <net/netlink.h>
#include <net/genetlink.h>

#include <uapi/linux/mpip.h>

int mpip_nl_get_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_set_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_peer_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_session_get_dumpit(struct sk_buff *skb,
			       struct netlink_callback *cb);
int mpip_nl_path_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_counter_get_dumpit(struct sk_buff *skb,
			       struct netlink_callback *cb);
int mpip_nl_param_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_param_set_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_avail_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_prefix_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_prefix_add_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_prefix_del_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_rule_get_dumpit(struct sk_buff *skb, struct netlink_callback *cb);
int mpip_nl_rule_add_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_rule_del_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_rule_flush_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_rule_draft_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_rule_commit_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_interface_get_dumpit(struct sk_buff *skb,
				 struct netlink_callback *cb);
int mpip_nl_interface_set_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_interface_reset_doit(struct sk_buff *skb, struct genl_info *info);
int mpip_nl_path_set_doit(struct sk_buff *skb, struct genl_info *info);

enum {
	MPIP_NLGRP_EVENTS,
};

extern struct genl_family mpip_nl_family;

#endif /* _LINUX_MPIP_GEN_H */
