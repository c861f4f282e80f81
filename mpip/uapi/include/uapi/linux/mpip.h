/* SPDX-License-Identifier: ((GPL-2.0 WITH Linux-syscall-note) OR BSD-3-Clause) */
/* Do not edit directly, auto-generated from: */
/*	Documentation/netlink/specs/mpip.yaml */
/* YNL-GEN uapi header */
/* To regenerate run: tools/net/ynl/ynl-regen.sh */

#ifndef _UAPI_LINUX_MPIP_H
#define _UAPI_LINUX_MPIP_H

#define MPIP_FAMILY_NAME	"mpip"
#define MPIP_FAMILY_VERSION	1

/**
 * enum mpip_availability - What is known of a destination (Table 2 of the
 *   paper).
 * @MPIP_AVAILABILITY_UNKNOWN: Still being asked.
 * @MPIP_AVAILABILITY_AVAILABLE: The destination has answered that it speaks
 *   MPIP.
 * @MPIP_AVAILABILITY_UNAVAILABLE: It stayed silent; it is asked again when the
 *   entry has aged out.
 */
enum mpip_availability {
	MPIP_AVAILABILITY_UNKNOWN,
	MPIP_AVAILABILITY_AVAILABLE,
	MPIP_AVAILABILITY_UNAVAILABLE,
};

/**
 * enum mpip_path_state - State of a path or of a session's use of it.
 * @MPIP_PATH_STATE_PENDING: A challenge is out; no data is sent.
 * @MPIP_PATH_STATE_ACTIVE: Carries data.
 * @MPIP_PATH_STATE_SUSPECT: Data was sent and no feedback came; probed, not
 *   used.
 * @MPIP_PATH_STATE_STANDBY: Usable, but kept back by policy.
 * @MPIP_PATH_STATE_GONE: Refused by the peer or without a local route.
 * @MPIP_PATH_STATE_DISABLED: Not to be used, see path-wish.
 */
enum mpip_path_state {
	MPIP_PATH_STATE_PENDING,
	MPIP_PATH_STATE_ACTIVE,
	MPIP_PATH_STATE_SUSPECT,
	MPIP_PATH_STATE_STANDBY,
	MPIP_PATH_STATE_GONE,
	MPIP_PATH_STATE_DISABLED,
};

/**
 * enum mpip_path_wish - What is wanted of one path, besides what is wanted of
 *   its interface.
 * @MPIP_PATH_WISH_ACTIVE: To be used as its interface is.
 * @MPIP_PATH_WISH_STANDBY: To be used only when nothing else works.
 * @MPIP_PATH_WISH_DISABLED: Not to be used. Sessions that have no other way go
 *   on there all the same.
 */
enum mpip_path_wish {
	MPIP_PATH_WISH_ACTIVE,
	MPIP_PATH_WISH_STANDBY,
	MPIP_PATH_WISH_DISABLED,
};

/**
 * enum mpip_path_way - How packets of a path travel.
 * @MPIP_PATH_WAY_RAW: As they are, with other addresses and ports.
 * @MPIP_PATH_WAY_UDP: TCP segments in UDP datagrams.
 * @MPIP_PATH_WAY_TCP: In what looks like a TCP connection of its own.
 */
enum mpip_path_way {
	MPIP_PATH_WAY_RAW,
	MPIP_PATH_WAY_UDP,
	MPIP_PATH_WAY_TCP,
};

/**
 * enum mpip_session_state - State of a session.
 * @MPIP_SESSION_STATE_OPENING: The peer has been asked to open the session.
 * @MPIP_SESSION_STATE_OPEN: Both ends know the session.
 * @MPIP_SESSION_STATE_CLOSING: The transport has finished; the session expires
 *   shortly.
 */
enum mpip_session_state {
	MPIP_SESSION_STATE_OPENING,
	MPIP_SESSION_STATE_OPEN,
	MPIP_SESSION_STATE_CLOSING,
};

/**
 * enum mpip_event_kind - What happened.
 * @MPIP_EVENT_KIND_PEER_UP: Keys are agreed with a peer and the first session
 *   with it is open.
 * @MPIP_EVENT_KIND_PEER_DOWN: A peer was forgotten or has left, and its paths
 *   with it.
 * @MPIP_EVENT_KIND_PATH_UP: A path may carry data, for the first time or again
 *   after path-down.
 * @MPIP_EVENT_KIND_PATH_SUSPECT: A path stopped answering; it is probed and
 *   not used.
 * @MPIP_EVENT_KIND_PATH_RETURN: A path that was suspect, or an end of which
 *   had gone, has answered.
 * @MPIP_EVENT_KIND_PATH_DOWN: The use of a path was refused, or an end of it
 *   has gone. It is told once until the path is up or returns. Where one
 *   session was refused, others may still use the path.
 * @MPIP_EVENT_KIND_ADDRESS_CHANGE: Usable local addresses or their interfaces
 *   have changed. The first look after the instance was enabled counts as
 *   well.
 * @MPIP_EVENT_KIND_INTERFACE_DEMOTED: An interface is used only when nothing
 *   else works: its budget is used up, or another one carries more for each
 *   joule.
 * @MPIP_EVENT_KIND_INTERFACE_PROMOTED: An interface that was demoted is used
 *   like others again.
 */
enum mpip_event_kind {
	MPIP_EVENT_KIND_PEER_UP,
	MPIP_EVENT_KIND_PEER_DOWN,
	MPIP_EVENT_KIND_PATH_UP,
	MPIP_EVENT_KIND_PATH_SUSPECT,
	MPIP_EVENT_KIND_PATH_RETURN,
	MPIP_EVENT_KIND_PATH_DOWN,
	MPIP_EVENT_KIND_ADDRESS_CHANGE,
	MPIP_EVENT_KIND_INTERFACE_DEMOTED,
	MPIP_EVENT_KIND_INTERFACE_PROMOTED,
};

/**
 * enum mpip_event_reason - Why it happened.
 * @MPIP_EVENT_REASON_GOODBYE: The peer said goodbye.
 * @MPIP_EVENT_REASON_STOPPED: The instance of this end is being disabled.
 * @MPIP_EVENT_REASON_REPLACED: The same node has agreed on new keys.
 * @MPIP_EVENT_REASON_IDLE: There was no session and no message for long.
 * @MPIP_EVENT_REASON_SILENT: No answer came.
 * @MPIP_EVENT_REASON_CROWDED: Another peer needed the place.
 * @MPIP_EVENT_REASON_RESET: The other end answered with an RST.
 * @MPIP_EVENT_REASON_UNREACHABLE: An ICMP error came.
 * @MPIP_EVENT_REASON_LOCAL_GONE: The local address or its interface is not
 *   there any more.
 * @MPIP_EVENT_REASON_REMOTE_GONE: The peer says that its address is not there
 *   any more.
 * @MPIP_EVENT_REASON_EXCLUDED: The interface is not to be used.
 * @MPIP_EVENT_REASON_BUDGET: What an interface may carry in the period.
 * @MPIP_EVENT_REASON_ENERGY: What interfaces carry for each joule.
 * @MPIP_EVENT_REASON_DISABLED: The path is not to be used.
 */
enum mpip_event_reason {
	MPIP_EVENT_REASON_GOODBYE,
	MPIP_EVENT_REASON_STOPPED,
	MPIP_EVENT_REASON_REPLACED,
	MPIP_EVENT_REASON_IDLE,
	MPIP_EVENT_REASON_SILENT,
	MPIP_EVENT_REASON_CROWDED,
	MPIP_EVENT_REASON_RESET,
	MPIP_EVENT_REASON_UNREACHABLE,
	MPIP_EVENT_REASON_LOCAL_GONE,
	MPIP_EVENT_REASON_REMOTE_GONE,
	MPIP_EVENT_REASON_EXCLUDED,
	MPIP_EVENT_REASON_BUDGET,
	MPIP_EVENT_REASON_ENERGY,
	MPIP_EVENT_REASON_DISABLED,
};

/**
 * enum mpip_rule_priority - What counts most for a rule's packets (Table 6 of
 *   the paper).
 * @MPIP_RULE_PRIORITY_THROUGHPUT: All lanes share the packets (T_f).
 * @MPIP_RULE_PRIORITY_LATENCY: Each packet takes the lane on which it arrives
 *   first (R_f).
 */
enum mpip_rule_priority {
	MPIP_RULE_PRIORITY_THROUGHPUT,
	MPIP_RULE_PRIORITY_LATENCY,
};

/**
 * enum mpip_rule_mode - Which lanes a rule's packets may take.
 * @MPIP_RULE_MODE_ALL: All that work.
 * @MPIP_RULE_MODE_SELECTED: Those whose paths keep to the limits; if none does
 *   the quickest.
 * @MPIP_RULE_MODE_SINGLE: The quickest one, until it fails or another is
 *   clearly quicker.
 * @MPIP_RULE_MODE_PROTECTED: Copies of data on all that answer; the first that
 *   arrives counts.
 * @MPIP_RULE_MODE_NEVER: The original one. For such flows no session is opened
 *   and no question asked.
 */
enum mpip_rule_mode {
	MPIP_RULE_MODE_ALL,
	MPIP_RULE_MODE_SELECTED,
	MPIP_RULE_MODE_SINGLE,
	MPIP_RULE_MODE_PROTECTED,
	MPIP_RULE_MODE_NEVER,
};

/**
 * enum mpip_lane_reason - Why an active lane carries no data of the session's
 *   own rule.
 * @MPIP_LANE_REASON_NEVER: The rule wants the original lane alone.
 * @MPIP_LANE_REASON_INTERFACE: The rule names other interfaces.
 * @MPIP_LANE_REASON_LIMITS: The path does not keep to the rule's limits.
 * @MPIP_LANE_REASON_NOT_CHOSEN: The rule wants one path, and this is not the
 *   one.
 * @MPIP_LANE_REASON_REPLACED: Other lanes have taken the original one's place.
 * @MPIP_LANE_REASON_UNRELIABLE: Other paths can be relied on better.
 * @MPIP_LANE_REASON_EXCLUDED: The interface is not to be used.
 * @MPIP_LANE_REASON_BACKUP: The interface is a backup, and other paths work.
 * @MPIP_LANE_REASON_BUDGET: The interface's budget is used up, and other paths
 *   work.
 * @MPIP_LANE_REASON_ENERGY: Another interface carries more for each joule.
 * @MPIP_LANE_REASON_PEER: The peer wants the path to be a backup, and other
 *   paths work.
 * @MPIP_LANE_REASON_STANDBY: The path was set to standby, and other paths
 *   work.
 * @MPIP_LANE_REASON_DISABLED: The path was set to disabled.
 */
enum mpip_lane_reason {
	MPIP_LANE_REASON_NEVER,
	MPIP_LANE_REASON_INTERFACE,
	MPIP_LANE_REASON_LIMITS,
	MPIP_LANE_REASON_NOT_CHOSEN,
	MPIP_LANE_REASON_REPLACED,
	MPIP_LANE_REASON_UNRELIABLE,
	MPIP_LANE_REASON_EXCLUDED,
	MPIP_LANE_REASON_BACKUP,
	MPIP_LANE_REASON_BUDGET,
	MPIP_LANE_REASON_ENERGY,
	MPIP_LANE_REASON_PEER,
	MPIP_LANE_REASON_STANDBY,
	MPIP_LANE_REASON_DISABLED,
};

/**
 * enum mpip_interface_role - What an interface is used for.
 * @MPIP_INTERFACE_ROLE_USED: For paths, as others are.
 * @MPIP_INTERFACE_ROLE_BACKUP: For paths that are used only when nothing else
 *   works.
 * @MPIP_INTERFACE_ROLE_BUDGET: The same, because its budget is used up.
 * @MPIP_INTERFACE_ROLE_ENERGY: The same, because another one carries more for
 *   each joule.
 * @MPIP_INTERFACE_ROLE_EXCLUDED: For no added path.
 */
enum mpip_interface_role {
	MPIP_INTERFACE_ROLE_USED,
	MPIP_INTERFACE_ROLE_BACKUP,
	MPIP_INTERFACE_ROLE_BUDGET,
	MPIP_INTERFACE_ROLE_ENERGY,
	MPIP_INTERFACE_ROLE_EXCLUDED,
};

enum {
	MPIP_A_NODE_VERSION = 1,
	MPIP_A_NODE_ENABLED,
	MPIP_A_NODE_ID,
	MPIP_A_NODE_PEERS,
	MPIP_A_NODE_SESSIONS,
	MPIP_A_NODE_PATHS,
	MPIP_A_NODE_ACTIVE_PATHS,
	MPIP_A_NODE_UDP_PORT,
	MPIP_A_NODE_PSK,
	MPIP_A_NODE_HAS_PSK,

	__MPIP_A_NODE_MAX,
	MPIP_A_NODE_MAX = (__MPIP_A_NODE_MAX - 1)
};

enum {
	MPIP_A_PEER_ID = 1,
	MPIP_A_PEER_SESSIONS,
	MPIP_A_PEER_PATHS,
	MPIP_A_PEER_UDP_PORT,
	MPIP_A_PEER_AGE_MS,
	MPIP_A_PEER_IDLE_MS,
	MPIP_A_PEER_ADDRESS,

	__MPIP_A_PEER_MAX,
	MPIP_A_PEER_MAX = (__MPIP_A_PEER_MAX - 1)
};

enum {
	MPIP_A_ENDPOINT_ADDR = 1,
	MPIP_A_ENDPOINT_PORT,

	__MPIP_A_ENDPOINT_MAX,
	MPIP_A_ENDPOINT_MAX = (__MPIP_A_ENDPOINT_MAX - 1)
};

enum {
	MPIP_A_SESSION_ID = 1,
	MPIP_A_SESSION_PEER,
	MPIP_A_SESSION_PROTOCOL,
	MPIP_A_SESSION_LOCAL,
	MPIP_A_SESSION_REMOTE,
	MPIP_A_SESSION_STATE,
	MPIP_A_SESSION_INITIATOR,
	MPIP_A_SESSION_NEXT_SEQ,
	MPIP_A_SESSION_AGE_MS,
	MPIP_A_SESSION_IDLE_MS,
	MPIP_A_SESSION_HELD,
	MPIP_A_SESSION_HELD_BYTES,
	MPIP_A_SESSION_LANE,
	MPIP_A_SESSION_RULE,

	__MPIP_A_SESSION_MAX,
	MPIP_A_SESSION_MAX = (__MPIP_A_SESSION_MAX - 1)
};

enum {
	MPIP_A_LANE_PATH = 1,
	MPIP_A_LANE_ORIGINAL,
	MPIP_A_LANE_LOCAL,
	MPIP_A_LANE_REMOTE,
	MPIP_A_LANE_STATE,
	MPIP_A_LANE_WEIGHT,
	MPIP_A_LANE_TX_PACKETS,
	MPIP_A_LANE_TX_BYTES,
	MPIP_A_LANE_RX_PACKETS,
	MPIP_A_LANE_RX_BYTES,
	MPIP_A_LANE_UNUSED,

	__MPIP_A_LANE_MAX,
	MPIP_A_LANE_MAX = (__MPIP_A_LANE_MAX - 1)
};

enum {
	MPIP_A_PATH_ID = 1,
	MPIP_A_PATH_PEER,
	MPIP_A_PATH_IFINDEX,
	MPIP_A_PATH_LOCAL,
	MPIP_A_PATH_REMOTE,
	MPIP_A_PATH_STATE,
	MPIP_A_PATH_WEIGHT,
	MPIP_A_PATH_DELAY_US,
	MPIP_A_PATH_MIN_DELAY_US,
	MPIP_A_PATH_QUEUE_US,
	MPIP_A_PATH_MAX_QUEUE_US,
	MPIP_A_PATH_SRTT_US,
	MPIP_A_PATH_MTU,
	MPIP_A_PATH_TX_PACKETS,
	MPIP_A_PATH_TX_BYTES,
	MPIP_A_PATH_RX_PACKETS,
	MPIP_A_PATH_RX_BYTES,
	MPIP_A_PATH_PEER_RX_PACKETS,
	MPIP_A_PATH_PEER_RX_BYTES,
	MPIP_A_PATH_LOST,
	MPIP_A_PATH_RX_DELAY_US,
	MPIP_A_PATH_WAY,
	MPIP_A_PATH_OBSERVED,
	MPIP_A_PATH_REASON,
	MPIP_A_PATH_UNUSED,
	MPIP_A_PATH_SET_WEIGHT,
	MPIP_A_PATH_SET_STATE,
	MPIP_A_PATH_RATE,
	MPIP_A_PATH_QUEUE_LIMIT_US,
	MPIP_A_PATH_UNANSWERED,
	MPIP_A_PATH_OBSERVED_PORT,
	MPIP_A_PATH_LOCAL_PORT,
	MPIP_A_PATH_LOCAL_PROTOCOL,

	__MPIP_A_PATH_MAX,
	MPIP_A_PATH_MAX = (__MPIP_A_PATH_MAX - 1)
};

enum {
	MPIP_A_COUNTER_NAME = 1,
	MPIP_A_COUNTER_VALUE,

	__MPIP_A_COUNTER_MAX,
	MPIP_A_COUNTER_MAX = (__MPIP_A_COUNTER_MAX - 1)
};

enum {
	MPIP_A_PARAM_NAME = 1,
	MPIP_A_PARAM_VALUE,
	MPIP_A_PARAM_DEFAULT,
	MPIP_A_PARAM_MINIMUM,
	MPIP_A_PARAM_MAXIMUM,
	MPIP_A_PARAM_UNIT,
	MPIP_A_PARAM_CHOICES,
	MPIP_A_PARAM_HELP,

	__MPIP_A_PARAM_MAX,
	MPIP_A_PARAM_MAX = (__MPIP_A_PARAM_MAX - 1)
};

enum {
	MPIP_A_AVAIL_ADDR = 1,
	MPIP_A_AVAIL_PORT,
	MPIP_A_AVAIL_PROTOCOL,
	MPIP_A_AVAIL_AVAILABILITY,
	MPIP_A_AVAIL_QUERIES,
	MPIP_A_AVAIL_AGE_MS,

	__MPIP_A_AVAIL_MAX,
	MPIP_A_AVAIL_MAX = (__MPIP_A_AVAIL_MAX - 1)
};

enum {
	MPIP_A_PREFIX_ADDR = 1,
	MPIP_A_PREFIX_LEN,

	__MPIP_A_PREFIX_MAX,
	MPIP_A_PREFIX_MAX = (__MPIP_A_PREFIX_MAX - 1)
};

enum {
	MPIP_A_EVENT_KIND = 1,
	MPIP_A_EVENT_TIME_US,
	MPIP_A_EVENT_PEER,
	MPIP_A_EVENT_PATH,
	MPIP_A_EVENT_IFINDEX,
	MPIP_A_EVENT_LOCAL,
	MPIP_A_EVENT_REMOTE,
	MPIP_A_EVENT_REASON,
	MPIP_A_EVENT_ADDRESSES,
	MPIP_A_EVENT_INTERFACE,
	MPIP_A_EVENT_USED,
	MPIP_A_EVENT_BUDGET,

	__MPIP_A_EVENT_MAX,
	MPIP_A_EVENT_MAX = (__MPIP_A_EVENT_MAX - 1)
};

enum {
	MPIP_A_RULE_NUMBER = 1,
	MPIP_A_RULE_DST,
	MPIP_A_RULE_DST_LEN,
	MPIP_A_RULE_SRC,
	MPIP_A_RULE_SRC_LEN,
	MPIP_A_RULE_DST_PORT_MIN,
	MPIP_A_RULE_DST_PORT_MAX,
	MPIP_A_RULE_SRC_PORT_MIN,
	MPIP_A_RULE_SRC_PORT_MAX,
	MPIP_A_RULE_PROTOCOL,
	MPIP_A_RULE_SIZE_MIN,
	MPIP_A_RULE_SIZE_MAX,
	MPIP_A_RULE_DSCP,
	MPIP_A_RULE_UID_MIN,
	MPIP_A_RULE_UID_MAX,
	MPIP_A_RULE_PRIORITY,
	MPIP_A_RULE_MODE,
	MPIP_A_RULE_MAX_DELAY_US,
	MPIP_A_RULE_MAX_LOSS,
	MPIP_A_RULE_MIN_RATE,
	MPIP_A_RULE_INTERFACES,
	MPIP_A_RULE_HITS,
	MPIP_A_RULE_ORDERED,
	MPIP_A_RULE_DRAFT,
	MPIP_A_RULE_CGROUP,
	MPIP_A_RULE_MAX_COST,
	MPIP_A_RULE_INTERFACE_NAMES,

	__MPIP_A_RULE_MAX,
	MPIP_A_RULE_MAX = (__MPIP_A_RULE_MAX - 1)
};

enum {
	MPIP_A_INTERFACE_NAME = 1,
	MPIP_A_INTERFACE_IFINDEX,
	MPIP_A_INTERFACE_ROLE,
	MPIP_A_INTERFACE_ENROLLED,
	MPIP_A_INTERFACE_EXCLUDED,
	MPIP_A_INTERFACE_BACKUP,
	MPIP_A_INTERFACE_COST,
	MPIP_A_INTERFACE_BUDGET,
	MPIP_A_INTERFACE_PERIOD_MS,
	MPIP_A_INTERFACE_USED,
	MPIP_A_INTERFACE_LEFT_MS,
	MPIP_A_INTERFACE_POWER_MW,
	MPIP_A_INTERFACE_BIT_NJ,

	__MPIP_A_INTERFACE_MAX,
	MPIP_A_INTERFACE_MAX = (__MPIP_A_INTERFACE_MAX - 1)
};

enum {
	MPIP_CMD_GET = 1,
	MPIP_CMD_SET,
	MPIP_CMD_PEER_GET,
	MPIP_CMD_SESSION_GET,
	MPIP_CMD_PATH_GET,
	MPIP_CMD_COUNTER_GET,
	MPIP_CMD_PARAM_GET,
	MPIP_CMD_PARAM_SET,
	MPIP_CMD_AVAIL_GET,
	MPIP_CMD_PREFIX_GET,
	MPIP_CMD_PREFIX_ADD,
	MPIP_CMD_PREFIX_DEL,
	MPIP_CMD_EVENT,
	MPIP_CMD_RULE_GET,
	MPIP_CMD_RULE_ADD,
	MPIP_CMD_RULE_DEL,
	MPIP_CMD_RULE_FLUSH,
	MPIP_CMD_RULE_DRAFT,
	MPIP_CMD_RULE_COMMIT,
	MPIP_CMD_INTERFACE_GET,
	MPIP_CMD_INTERFACE_SET,
	MPIP_CMD_INTERFACE_RESET,
	MPIP_CMD_PATH_SET,

	__MPIP_CMD_MAX,
	MPIP_CMD_MAX = (__MPIP_CMD_MAX - 1)
};

#define MPIP_MCGRP_EVENTS	"events"

#endif /* _UAPI_LINUX_MPIP_H */
