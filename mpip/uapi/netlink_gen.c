// SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause)
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/mpip.yaml */
/* YNL-GEN kernel source */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#include <net/netlink.h>
#include <net/genetlink.h>

#include "netlink_gen.h"

#include <uapi/linux/mpip.h>

/* Integer value ranges */
static const struct netlink_range_validation mpip_a_interface_period_ms_range = {
	.min	= 1000ULL,
	.max	= 31622400000ULL,
};

/* MPIP_CMD_GET - do */
static const struct nla_policy mpip_get_nl_policy[MPIP_A_NODE_PSK + 1] = {
	[MPIP_A_NODE_PSK] = NLA_POLICY_EXACT_LEN(32),
};

/* MPIP_CMD_SET - do */
static const struct nla_policy mpip_set_nl_policy[MPIP_A_NODE_PSK + 1] = {
	[MPIP_A_NODE_ENABLED] = NLA_POLICY_MAX(NLA_U8, 1),
	[MPIP_A_NODE_PSK] = NLA_POLICY_EXACT_LEN(32),
};

/* MPIP_CMD_PARAM_SET - do */
static const struct nla_policy mpip_param_set_nl_policy[MPIP_A_PARAM_VALUE + 1] = {
	[MPIP_A_PARAM_NAME] = { .type = NLA_NUL_STRING, .len = 31, },
	[MPIP_A_PARAM_VALUE] = { .type = NLA_U64, },
};

/* MPIP_CMD_PREFIX_ADD - do */
static const struct nla_policy mpip_prefix_add_nl_policy[MPIP_A_PREFIX_LEN + 1] = {
	[MPIP_A_PREFIX_ADDR] = NLA_POLICY_MAX_LEN(16),
	[MPIP_A_PREFIX_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
};

/* MPIP_CMD_PREFIX_DEL - do */
static const struct nla_policy mpip_prefix_del_nl_policy[MPIP_A_PREFIX_LEN + 1] = {
	[MPIP_A_PREFIX_ADDR] = NLA_POLICY_MAX_LEN(16),
	[MPIP_A_PREFIX_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
};

/* MPIP_CMD_RULE_ADD - do */
static const struct nla_policy mpip_rule_add_nl_policy[MPIP_A_RULE_INTERFACE_NAMES + 1] = {
	[MPIP_A_RULE_NUMBER] = NLA_POLICY_MIN(NLA_U32, 1),
	[MPIP_A_RULE_DST] = NLA_POLICY_MAX_LEN(16),
	[MPIP_A_RULE_DST_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
	[MPIP_A_RULE_SRC] = NLA_POLICY_MAX_LEN(16),
	[MPIP_A_RULE_SRC_LEN] = NLA_POLICY_MAX(NLA_U8, 128),
	[MPIP_A_RULE_DST_PORT_MIN] = { .type = NLA_U16, },
	[MPIP_A_RULE_DST_PORT_MAX] = { .type = NLA_U16, },
	[MPIP_A_RULE_SRC_PORT_MIN] = { .type = NLA_U16, },
	[MPIP_A_RULE_SRC_PORT_MAX] = { .type = NLA_U16, },
	[MPIP_A_RULE_PROTOCOL] = { .type = NLA_U8, },
	[MPIP_A_RULE_SIZE_MIN] = { .type = NLA_U16, },
	[MPIP_A_RULE_SIZE_MAX] = { .type = NLA_U16, },
	[MPIP_A_RULE_DSCP] = NLA_POLICY_MAX(NLA_U8, 63),
	[MPIP_A_RULE_UID_MIN] = { .type = NLA_U32, },
	[MPIP_A_RULE_UID_MAX] = { .type = NLA_U32, },
	[MPIP_A_RULE_PRIORITY] = NLA_POLICY_MAX(NLA_U32, 1),
	[MPIP_A_RULE_MODE] = NLA_POLICY_MAX(NLA_U32, 4),
	[MPIP_A_RULE_MAX_DELAY_US] = { .type = NLA_U32, },
	[MPIP_A_RULE_MAX_LOSS] = NLA_POLICY_MAX(NLA_U32, 1000),
	[MPIP_A_RULE_MIN_RATE] = { .type = NLA_U32, },
	[MPIP_A_RULE_INTERFACES] = NLA_POLICY_MAX_LEN(32),
	[MPIP_A_RULE_ORDERED] = NLA_POLICY_MAX(NLA_U8, 1),
	[MPIP_A_RULE_DRAFT] = NLA_POLICY_MIN(NLA_U32, 1),
	[MPIP_A_RULE_CGROUP] = NLA_POLICY_MIN(NLA_U64, 1),
	[MPIP_A_RULE_MAX_COST] = { .type = NLA_U32, },
	[MPIP_A_RULE_INTERFACE_NAMES] = { .type = NLA_NUL_STRING, .len = 127, },
};

/* MPIP_CMD_RULE_DEL - do */
static const struct nla_policy mpip_rule_del_nl_policy[MPIP_A_RULE_DRAFT + 1] = {
	[MPIP_A_RULE_NUMBER] = NLA_POLICY_MIN(NLA_U32, 1),
	[MPIP_A_RULE_DRAFT] = NLA_POLICY_MIN(NLA_U32, 1),
};

/* MPIP_CMD_RULE_FLUSH - do */
static const struct nla_policy mpip_rule_flush_nl_policy[MPIP_A_RULE_DRAFT + 1] = {
	[MPIP_A_RULE_DRAFT] = NLA_POLICY_MIN(NLA_U32, 1),
};

/* MPIP_CMD_RULE_DRAFT - do */
static const struct nla_policy mpip_rule_draft_nl_policy[MPIP_A_RULE_DRAFT + 1] = {
	[MPIP_A_RULE_DRAFT] = NLA_POLICY_MIN(NLA_U32, 1),
};

/* MPIP_CMD_RULE_COMMIT - do */
static const struct nla_policy mpip_rule_commit_nl_policy[MPIP_A_RULE_DRAFT + 1] = {
	[MPIP_A_RULE_DRAFT] = NLA_POLICY_MIN(NLA_U32, 1),
};

/* MPIP_CMD_INTERFACE_SET - do */
static const struct nla_policy mpip_interface_set_nl_policy[MPIP_A_INTERFACE_BIT_NJ + 1] = {
	[MPIP_A_INTERFACE_NAME] = { .type = NLA_NUL_STRING, .len = 15, },
	[MPIP_A_INTERFACE_ENROLLED] = NLA_POLICY_MAX(NLA_U8, 1),
	[MPIP_A_INTERFACE_EXCLUDED] = NLA_POLICY_MAX(NLA_U8, 1),
	[MPIP_A_INTERFACE_BACKUP] = NLA_POLICY_MAX(NLA_U8, 1),
	[MPIP_A_INTERFACE_COST] = { .type = NLA_U32, },
	[MPIP_A_INTERFACE_BUDGET] = { .type = NLA_U64, },
	[MPIP_A_INTERFACE_PERIOD_MS] = NLA_POLICY_FULL_RANGE(NLA_U64, &mpip_a_interface_period_ms_range),
	[MPIP_A_INTERFACE_USED] = { .type = NLA_U64, },
	[MPIP_A_INTERFACE_POWER_MW] = { .type = NLA_U32, },
	[MPIP_A_INTERFACE_BIT_NJ] = { .type = NLA_U32, },
};

/* MPIP_CMD_INTERFACE_RESET - do */
static const struct nla_policy mpip_interface_reset_nl_policy[MPIP_A_INTERFACE_NAME + 1] = {
	[MPIP_A_INTERFACE_NAME] = { .type = NLA_NUL_STRING, .len = 15, },
};

/* MPIP_CMD_PATH_SET - do */
static const struct nla_policy mpip_path_set_nl_policy[MPIP_A_PATH_SET_STATE + 1] = {
	[MPIP_A_PATH_ID] = { .type = NLA_U8, },
	[MPIP_A_PATH_PEER] = { .type = NLA_U64, },
	[MPIP_A_PATH_SET_WEIGHT] = NLA_POLICY_MAX(NLA_U32, 1000),
	[MPIP_A_PATH_SET_STATE] = NLA_POLICY_MAX(NLA_U32, 2),
};

/* Ops table for mpip */
static const struct genl_split_ops mpip_nl_ops[] = {
	{
		.cmd		= MPIP_CMD_GET,
		.doit		= mpip_nl_get_doit,
		.policy		= mpip_get_nl_policy,
		.maxattr	= MPIP_A_NODE_PSK,
		.flags		= GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_SET,
		.doit		= mpip_nl_set_doit,
		.policy		= mpip_set_nl_policy,
		.maxattr	= MPIP_A_NODE_PSK,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= MPIP_CMD_PEER_GET,
		.dumpit	= mpip_nl_peer_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= MPIP_CMD_SESSION_GET,
		.dumpit	= mpip_nl_session_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= MPIP_CMD_PATH_GET,
		.dumpit	= mpip_nl_path_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= MPIP_CMD_COUNTER_GET,
		.dumpit	= mpip_nl_counter_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= MPIP_CMD_PARAM_GET,
		.dumpit	= mpip_nl_param_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MPIP_CMD_PARAM_SET,
		.doit		= mpip_nl_param_set_doit,
		.policy		= mpip_param_set_nl_policy,
		.maxattr	= MPIP_A_PARAM_VALUE,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= MPIP_CMD_AVAIL_GET,
		.dumpit	= mpip_nl_avail_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd	= MPIP_CMD_PREFIX_GET,
		.dumpit	= mpip_nl_prefix_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MPIP_CMD_PREFIX_ADD,
		.doit		= mpip_nl_prefix_add_doit,
		.policy		= mpip_prefix_add_nl_policy,
		.maxattr	= MPIP_A_PREFIX_LEN,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_PREFIX_DEL,
		.doit		= mpip_nl_prefix_del_doit,
		.policy		= mpip_prefix_del_nl_policy,
		.maxattr	= MPIP_A_PREFIX_LEN,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= MPIP_CMD_RULE_GET,
		.dumpit	= mpip_nl_rule_get_dumpit,
		.flags	= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MPIP_CMD_RULE_ADD,
		.doit		= mpip_nl_rule_add_doit,
		.policy		= mpip_rule_add_nl_policy,
		.maxattr	= MPIP_A_RULE_INTERFACE_NAMES,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_RULE_DEL,
		.doit		= mpip_nl_rule_del_doit,
		.policy		= mpip_rule_del_nl_policy,
		.maxattr	= MPIP_A_RULE_DRAFT,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_RULE_FLUSH,
		.doit		= mpip_nl_rule_flush_doit,
		.policy		= mpip_rule_flush_nl_policy,
		.maxattr	= MPIP_A_RULE_DRAFT,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_RULE_DRAFT,
		.doit		= mpip_nl_rule_draft_doit,
		.policy		= mpip_rule_draft_nl_policy,
		.maxattr	= MPIP_A_RULE_DRAFT,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_RULE_COMMIT,
		.doit		= mpip_nl_rule_commit_doit,
		.policy		= mpip_rule_commit_nl_policy,
		.maxattr	= MPIP_A_RULE_DRAFT,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd	= MPIP_CMD_INTERFACE_GET,
		.dumpit	= mpip_nl_interface_get_dumpit,
		.flags	= GENL_CMD_CAP_DUMP,
	},
	{
		.cmd		= MPIP_CMD_INTERFACE_SET,
		.doit		= mpip_nl_interface_set_doit,
		.policy		= mpip_interface_set_nl_policy,
		.maxattr	= MPIP_A_INTERFACE_BIT_NJ,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_INTERFACE_RESET,
		.doit		= mpip_nl_interface_reset_doit,
		.policy		= mpip_interface_reset_nl_policy,
		.maxattr	= MPIP_A_INTERFACE_NAME,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
	{
		.cmd		= MPIP_CMD_PATH_SET,
		.doit		= mpip_nl_path_set_doit,
		.policy		= mpip_path_set_nl_policy,
		.maxattr	= MPIP_A_PATH_SET_STATE,
		.flags		= GENL_UNS_ADMIN_PERM | GENL_CMD_CAP_DO,
	},
};

static const struct genl_multicast_group mpip_nl_mcgrps[] = {
	[MPIP_NLGRP_EVENTS] = { "events", },
};

struct genl_family mpip_nl_family __ro_after_init = {
	.name		= MPIP_FAMILY_NAME,
	.version	= MPIP_FAMILY_VERSION,
	.netnsok	= true,
	.parallel_ops	= true,
	.module		= THIS_MODULE,
	.split_ops	= mpip_nl_ops,
	.n_split_ops	= ARRAY_SIZE(mpip_nl_ops),
	.mcgrps		= mpip_nl_mcgrps,
	.n_mcgrps	= ARRAY_SIZE(mpip_nl_mcgrps),
};
