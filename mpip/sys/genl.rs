// SPDX-License-Identifier: GPL-2.0

//! The generic netlink family: requests, replies and dumps.
//!
//! The family, its operations and the policy of its attributes are generated
//! from `uapi/mpip.yaml`; by the time a handler runs, the kernel has checked
//! types, ranges and rights.

use super::{
    bindings,
    net::Net,
    pernet,
    skb, //
};
use crate::net::{
    ctl,
    ctl_links,
    ctl_paths,
    ctl_rules,
    ns::Namespace, //
};
use core::{
    marker::PhantomData,
    ptr::NonNull,
    slice, //
};
use kernel::{
    error::{
        from_result,
        to_result, //
    },
    ffi::c_int,
    prelude::*,
    str::CStr,
    sync::{
        atomic::{
            Acquire,
            Atomic,
            Release, //
        },
        rcu,
        Arc, //
    },
};

/// Why a reply could not take more: the message is full.
const FULL: Error = EMSGSIZE;

/// A message under construction.
pub struct Message<'a> {
    skb: NonNull<bindings::sk_buff>,
    _skb: PhantomData<&'a mut bindings::sk_buff>,
}

impl Message<'_> {
    fn put(&mut self, attr: u32, data: &[u8]) -> Result {
        // SAFETY: `skb` is a message under construction, ours alone.
        to_result(unsafe {
            bindings::mpip_shim_nla_put(
                self.skb.as_ptr(),
                attr as c_int,
                data.len() as c_int,
                data.as_ptr().cast(),
            )
        })
    }

    /// Adds an 8-bit number.
    pub fn u8(&mut self, attr: u32, value: u8) -> Result {
        self.put(attr, &[value])
    }

    /// Adds a 16-bit number.
    pub fn u16(&mut self, attr: u32, value: u16) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Adds a 32-bit number.
    pub fn u32(&mut self, attr: u32, value: u32) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Adds a signed 32-bit number.
    pub fn s32(&mut self, attr: u32, value: i32) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Adds a 64-bit number.
    pub fn u64(&mut self, attr: u32, value: u64) -> Result {
        self.put(attr, &value.to_ne_bytes())
    }

    /// Adds bytes.
    pub fn bytes(&mut self, attr: u32, value: &[u8]) -> Result {
        self.put(attr, value)
    }

    /// Adds a text, with the zero that netlink wants behind it.
    pub fn text(&mut self, attr: u32, value: &str) -> Result {
        const MAX_TEXT: usize = 255;
        let mut buf = [0; MAX_TEXT + 1];
        let bytes = value.as_bytes();
        let text = bytes.get(..bytes.len().min(MAX_TEXT)).unwrap_or(bytes);
        for (to, from) in buf.iter_mut().zip(text) {
            *to = *from;
        }
        self.put(attr, buf.get(..=text.len()).unwrap_or(&[0]))
    }

    /// Adds a nest that `f` fills.
    pub fn nest(&mut self, attr: u32, f: impl FnOnce(&mut Self) -> Result) -> Result {
        // SAFETY: `skb` is a message under construction.
        let nest = unsafe { bindings::mpip_shim_nest_start(self.skb.as_ptr(), attr as c_int) };
        if nest.is_null() {
            return Err(FULL);
        }
        f(self)?;
        // SAFETY: `nest` was started in the same message; on an error the whole message goes.
        unsafe { bindings::mpip_shim_nest_end(self.skb.as_ptr(), nest) };
        Ok(())
    }
}

/// A request ("do").
pub struct Request<'a> {
    info: NonNull<bindings::genl_info>,
    _info: PhantomData<&'a mut bindings::genl_info>,
}

impl Request<'_> {
    fn attr(&self, attr: u32) -> Option<&[u8]> {
        // SAFETY: The kernel has parsed the attributes up to the operation's highest, which the
        // callers stay within; they live as long as the request.
        unsafe {
            let nla = bindings::mpip_shim_info_attr(self.info.as_ptr(), attr as c_int);
            if nla.is_null() {
                return None;
            }
            let len = bindings::mpip_shim_nla_len(nla) as usize;
            Some(slice::from_raw_parts(
                bindings::mpip_shim_nla_data(nla),
                len,
            ))
        }
    }

    /// An 8-bit number.
    pub fn u8(&self, attr: u32) -> Option<u8> {
        self.attr(attr)?.first().copied()
    }

    /// A 16-bit number.
    pub fn u16(&self, attr: u32) -> Option<u16> {
        self.attr(attr)?.try_into().ok().map(u16::from_ne_bytes)
    }

    /// A 32-bit number.
    pub fn u32(&self, attr: u32) -> Option<u32> {
        self.attr(attr)?.try_into().ok().map(u32::from_ne_bytes)
    }

    /// A 64-bit number.
    pub fn u64(&self, attr: u32) -> Option<u64> {
        self.attr(attr)?.try_into().ok().map(u64::from_ne_bytes)
    }

    /// Bytes.
    pub fn bytes(&self, attr: u32) -> Option<&[u8]> {
        self.attr(attr)
    }

    /// A text, without the zero at its end.
    pub fn text(&self, attr: u32) -> Option<&[u8]> {
        self.attr(attr)?.split(|b| *b == 0).next()
    }

    /// Refuses the request: `attr` (0 for none) is wrong because of `why`.
    pub fn refuse(&mut self, error: Error, attr: u32, why: &'static CStr) -> Error {
        // SAFETY: The request is alive; the kernel copies the text.
        unsafe {
            bindings::mpip_shim_info_fail(self.info.as_ptr(), why.as_char_ptr(), attr as c_int)
        };
        error
    }

    /// Says something about a request that is granted.
    pub fn remark(&mut self, what: &'static CStr) {
        // SAFETY: The request is alive; the kernel copies the text.
        unsafe { bindings::mpip_shim_info_fail(self.info.as_ptr(), what.as_char_ptr(), 0) };
    }

    /// Replies with what `f` writes.
    pub fn reply(&mut self, cmd: u8, f: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        let mut skb = core::ptr::null_mut();
        // SAFETY: The request is alive and `skb` valid for writes.
        let header = unsafe { bindings::mpip_shim_info_reply(self.info.as_ptr(), cmd, &mut skb) };
        if header.is_null() {
            return Err(ENOMEM);
        }
        let skb = NonNull::new(skb).ok_or(ENOMEM)?;
        let mut message = Message {
            skb,
            _skb: PhantomData,
        };
        if let Err(error) = f(&mut message) {
            // SAFETY: The reply is ours and not sent.
            unsafe { bindings::mpip_shim_skb_free(skb.as_ptr()) };
            return Err(error);
        }
        // SAFETY: The reply is ours and given away.
        to_result(unsafe {
            bindings::mpip_shim_info_send(self.info.as_ptr(), skb.as_ptr(), header)
        })
    }
}

/// A dump: called again and again with the same cursor until it adds nothing.
pub struct Dump<'a> {
    skb: NonNull<bindings::sk_buff>,
    cb: NonNull<bindings::netlink_callback>,
    cmd: u8,
    _cb: PhantomData<&'a mut bindings::netlink_callback>,
}

impl Dump<'_> {
    /// The numbers that the dump keeps between calls; zeros at first.
    pub fn cursor(&mut self) -> &mut [i64; 4] {
        // SAFETY: The context of a callback is 48 bytes, aligned, and ours.
        unsafe { &mut *bindings::mpip_shim_cb_ctx(self.cb.as_ptr()).cast::<[i64; 4]>() }
    }

    /// Says which state of the list the messages show: when it changes in mid-dump, the receiver
    /// is told that the dump was interrupted.
    pub fn set_generation(&mut self, generation: u32) {
        // SAFETY: `cb` is that of the running dump.
        unsafe { bindings::mpip_shim_cb_seq(self.cb.as_ptr(), generation) };
    }

    /// Adds one message. `Err(EMSGSIZE)`: it did not fit, to be tried again in the next call.
    pub fn add(&mut self, f: impl FnOnce(&mut Message<'_>) -> Result) -> Result {
        // SAFETY: Both are those of the running dump.
        let header = unsafe {
            bindings::mpip_shim_dump_begin(self.skb.as_ptr(), self.cb.as_ptr(), self.cmd)
        };
        if header.is_null() {
            return Err(FULL);
        }
        let mut message = Message {
            skb: self.skb,
            _skb: PhantomData,
        };
        match f(&mut message) {
            Ok(()) => {
                // SAFETY: `header` was begun in the same message.
                unsafe { bindings::mpip_shim_msg_end(self.skb.as_ptr(), header) };
                Ok(())
            }
            Err(error) => {
                // SAFETY: As above.
                unsafe { bindings::mpip_shim_msg_cancel(self.skb.as_ptr(), header) };
                Err(error)
            }
        }
    }
}

/// Whether the group of events exists: its number may be another family's before and after.
static EVENTS: Atomic<bool> = Atomic::new(false);

/// Sends the event that `f` writes to whoever listens in `net`; costs next to nothing if nobody
/// does. False if there was no memory, which the listeners are told.
///
/// Any context, softirq included. Nothing sleeps and nothing of ours is called from within; still
/// no lock should be held, as each listener costs the time of a copy and a wake-up.
pub fn multicast(
    net: Net,
    cmd: u32,
    len: usize,
    f: impl FnOnce(&mut Message<'_>) -> Result,
) -> bool {
    // Keeps the group until the event is out, see `Registration::drop`.
    let _rcu = rcu::read_lock();
    // SAFETY: `net` is alive; the family is registered.
    if !EVENTS.load(Acquire) || !unsafe { bindings::mpip_shim_event_wanted(net.as_ptr()) } {
        return true;
    }
    let sent = try_multicast(net, cmd, len, f).is_ok();
    if !sent {
        // SAFETY: As above.
        unsafe { bindings::mpip_shim_event_lost(net.as_ptr()) };
    }
    sent
}

fn try_multicast(
    net: Net,
    cmd: u32,
    len: usize,
    f: impl FnOnce(&mut Message<'_>) -> Result,
) -> Result {
    let mut skb = core::ptr::null_mut();
    // SAFETY: The family is registered and `skb` valid for writes.
    let header = unsafe { bindings::mpip_shim_event_new(len as u32, cmd as u8, &mut skb) };
    if header.is_null() {
        return Err(ENOMEM);
    }
    let skb = NonNull::new(skb).ok_or(ENOMEM)?;
    let mut message = Message {
        skb,
        _skb: PhantomData,
    };
    if let Err(error) = f(&mut message) {
        // SAFETY: The message is ours and not sent.
        unsafe { bindings::mpip_shim_skb_free(skb.as_ptr()) };
        return Err(error);
    }
    // SAFETY: `net` is alive; the message is ours and given away.
    unsafe { bindings::mpip_shim_event_send(net.as_ptr(), skb.as_ptr(), header) };
    Ok(())
}

/// Runs a request.
///
/// # Safety
///
/// `info` must be that of the running request.
unsafe fn run_do(
    info: *mut bindings::genl_info,
    f: impl FnOnce(&Namespace, &mut Request<'_>) -> Result,
) -> c_int {
    from_result(|| {
        let info = NonNull::new(info).ok_or(EINVAL)?;
        // SAFETY: The requesting socket keeps its namespace alive.
        let net = unsafe { Net::from_raw(bindings::mpip_shim_info_net(info.as_ptr())) };
        let namespace: Arc<Namespace> = net.and_then(pernet::get).ok_or(ENODEV)?;
        f(
            &namespace,
            &mut Request {
                info,
                _info: PhantomData,
            },
        )
        .map(|()| 0)
    })
}

/// Runs a round of a dump.
///
/// # Safety
///
/// `skb` and `cb` must be those of the running dump.
unsafe fn run_dump(
    skb: *mut bindings::sk_buff,
    cb: *mut bindings::netlink_callback,
    cmd: u32,
    f: impl FnOnce(&Namespace, &mut Dump<'_>) -> Result,
) -> c_int {
    from_result(|| {
        let skb = NonNull::new(skb).ok_or(EINVAL)?;
        let cb = NonNull::new(cb).ok_or(EINVAL)?;
        // SAFETY: The requesting socket keeps its namespace alive.
        let net = unsafe { Net::from_raw(bindings::mpip_shim_cb_net(cb.as_ptr(), skb.as_ptr())) };
        let namespace: Arc<Namespace> = net.and_then(pernet::get).ok_or(ENODEV)?;
        let before = {
            // SAFETY: The message is alive.
            unsafe { skb::len(skb.as_ptr()) }
        };
        let mut dump = Dump {
            skb,
            cb,
            cmd: cmd as u8,
            _cb: PhantomData,
        };
        let result = f(&namespace, &mut dump);
        // SAFETY: As above.
        let after = unsafe { skb::len(skb.as_ptr()) };
        match result {
            // Full: what is in goes out, the rest follows.
            Err(error) if error == FULL && after > before => Ok(after as c_int),
            Err(error) => Err(error),
            Ok(()) => Ok(after as c_int),
        }
    })
}

macro_rules! requests {
    ($($name:ident => $handler:path;)+) => {$(
        /// # Safety
        ///
        /// To be called by generic netlink only.
        #[no_mangle]
        unsafe extern "C" fn $name(
            _skb: *mut bindings::sk_buff,
            info: *mut bindings::genl_info,
        ) -> c_int {
            // SAFETY: By the contract.
            unsafe { run_do(info, |namespace, request| $handler(namespace, request)) }
        }
    )+};
}

macro_rules! dumps {
    ($($name:ident, $cmd:expr => $handler:path;)+) => {$(
        /// # Safety
        ///
        /// To be called by generic netlink only.
        #[no_mangle]
        unsafe extern "C" fn $name(
            skb: *mut bindings::sk_buff,
            cb: *mut bindings::netlink_callback,
        ) -> c_int {
            // SAFETY: By the contract.
            unsafe { run_dump(skb, cb, $cmd, |namespace, dump| $handler(namespace, dump)) }
        }
    )+};
}

requests! {
    mpip_nl_get_doit => ctl::get;
    mpip_nl_set_doit => ctl::set;
    mpip_nl_param_set_doit => ctl::param_set;
    mpip_nl_prefix_add_doit => ctl::prefix_add;
    mpip_nl_prefix_del_doit => ctl::prefix_del;
    mpip_nl_rule_add_doit => ctl_rules::add;
    mpip_nl_rule_del_doit => ctl_rules::del;
    mpip_nl_rule_flush_doit => ctl_rules::flush;
    mpip_nl_rule_draft_doit => ctl_rules::draft;
    mpip_nl_rule_commit_doit => ctl_rules::commit;
    mpip_nl_path_set_doit => ctl_paths::set;
    mpip_nl_interface_set_doit => ctl_links::set;
    mpip_nl_interface_reset_doit => ctl_links::reset;
}

dumps! {
    mpip_nl_peer_get_dumpit, uapi::MPIP_CMD_PEER_GET => ctl::peers;
    mpip_nl_session_get_dumpit, uapi::MPIP_CMD_SESSION_GET => ctl::sessions;
    mpip_nl_path_get_dumpit, uapi::MPIP_CMD_PATH_GET => ctl_paths::dump;
    mpip_nl_counter_get_dumpit, uapi::MPIP_CMD_COUNTER_GET => ctl::counters;
    mpip_nl_param_get_dumpit, uapi::MPIP_CMD_PARAM_GET => ctl::params;
    mpip_nl_avail_get_dumpit, uapi::MPIP_CMD_AVAIL_GET => ctl::avail;
    mpip_nl_prefix_get_dumpit, uapi::MPIP_CMD_PREFIX_GET => ctl::prefixes;
    mpip_nl_rule_get_dumpit, uapi::MPIP_CMD_RULE_GET => ctl_rules::dump;
    mpip_nl_interface_get_dumpit, uapi::MPIP_CMD_INTERFACE_GET => ctl_links::dump;
}

/// Numbers of commands and attributes, from the generated header.
pub mod uapi {
    pub use super::super::bindings::{
        MPIP_A_AVAIL_ADDR,
        MPIP_A_AVAIL_AGE_MS,
        MPIP_A_AVAIL_AVAILABILITY,
        MPIP_A_AVAIL_PORT,
        MPIP_A_AVAIL_PROTOCOL,
        MPIP_A_AVAIL_QUERIES,
        MPIP_A_COUNTER_NAME,
        MPIP_A_COUNTER_VALUE,
        MPIP_A_ENDPOINT_ADDR,
        MPIP_A_ENDPOINT_PORT,
        MPIP_A_EVENT_ADDRESSES,
        MPIP_A_EVENT_BUDGET,
        MPIP_A_EVENT_IFINDEX,
        MPIP_A_EVENT_INTERFACE,
        MPIP_A_EVENT_KIND,
        MPIP_A_EVENT_LOCAL,
        MPIP_A_EVENT_PATH,
        MPIP_A_EVENT_PEER,
        MPIP_A_EVENT_REASON,
        MPIP_A_EVENT_REMOTE,
        MPIP_A_EVENT_TIME_US,
        MPIP_A_EVENT_USED,
        MPIP_A_INTERFACE_BACKUP,
        MPIP_A_INTERFACE_BIT_NJ,
        MPIP_A_INTERFACE_BUDGET,
        MPIP_A_INTERFACE_COST,
        MPIP_A_INTERFACE_ENROLLED,
        MPIP_A_INTERFACE_EXCLUDED,
        MPIP_A_INTERFACE_IFINDEX,
        MPIP_A_INTERFACE_LEFT_MS,
        MPIP_A_INTERFACE_NAME,
        MPIP_A_INTERFACE_PERIOD_MS,
        MPIP_A_INTERFACE_POWER_MW,
        MPIP_A_INTERFACE_ROLE,
        MPIP_A_INTERFACE_USED,
        MPIP_A_LANE_LOCAL,
        MPIP_A_LANE_ORIGINAL,
        MPIP_A_LANE_PATH,
        MPIP_A_LANE_REMOTE,
        MPIP_A_LANE_RX_BYTES,
        MPIP_A_LANE_RX_PACKETS,
        MPIP_A_LANE_STATE,
        MPIP_A_LANE_TX_BYTES,
        MPIP_A_LANE_TX_PACKETS,
        MPIP_A_LANE_UNUSED,
        MPIP_A_LANE_WEIGHT,
        MPIP_A_NODE_ACTIVE_PATHS,
        MPIP_A_NODE_ENABLED,
        MPIP_A_NODE_HAS_PSK,
        MPIP_A_NODE_ID,
        MPIP_A_NODE_PATHS,
        MPIP_A_NODE_PEERS,
        MPIP_A_NODE_PSK,
        MPIP_A_NODE_SESSIONS,
        MPIP_A_NODE_UDP_PORT,
        MPIP_A_NODE_VERSION,
        MPIP_A_PARAM_CHOICES,
        MPIP_A_PARAM_DEFAULT,
        MPIP_A_PARAM_HELP,
        MPIP_A_PARAM_MAXIMUM,
        MPIP_A_PARAM_MINIMUM,
        MPIP_A_PARAM_NAME,
        MPIP_A_PARAM_UNIT,
        MPIP_A_PARAM_VALUE,
        MPIP_A_PATH_DELAY_US,
        MPIP_A_PATH_ID,
        MPIP_A_PATH_IFINDEX,
        MPIP_A_PATH_LOCAL,
        MPIP_A_PATH_LOCAL_PORT,
        MPIP_A_PATH_LOCAL_PROTOCOL,
        MPIP_A_PATH_LOST,
        MPIP_A_PATH_MAX_QUEUE_US,
        MPIP_A_PATH_MIN_DELAY_US,
        MPIP_A_PATH_MTU,
        MPIP_A_PATH_OBSERVED,
        MPIP_A_PATH_OBSERVED_PORT,
        MPIP_A_PATH_PEER,
        MPIP_A_PATH_PEER_RX_BYTES,
        MPIP_A_PATH_PEER_RX_PACKETS,
        MPIP_A_PATH_QUEUE_LIMIT_US,
        MPIP_A_PATH_QUEUE_US,
        MPIP_A_PATH_RATE,
        MPIP_A_PATH_REASON,
        MPIP_A_PATH_REMOTE,
        MPIP_A_PATH_RX_BYTES,
        MPIP_A_PATH_RX_DELAY_US,
        MPIP_A_PATH_RX_PACKETS,
        MPIP_A_PATH_SET_STATE,
        MPIP_A_PATH_SET_WEIGHT,
        MPIP_A_PATH_SRTT_US,
        MPIP_A_PATH_STATE,
        MPIP_A_PATH_TX_BYTES,
        MPIP_A_PATH_TX_PACKETS,
        MPIP_A_PATH_UNANSWERED,
        MPIP_A_PATH_UNUSED,
        MPIP_A_PATH_WAY,
        MPIP_A_PATH_WEIGHT,
        MPIP_A_PEER_ADDRESS,
        MPIP_A_PEER_AGE_MS,
        MPIP_A_PEER_ID,
        MPIP_A_PEER_IDLE_MS,
        MPIP_A_PEER_PATHS,
        MPIP_A_PEER_SESSIONS,
        MPIP_A_PEER_UDP_PORT,
        MPIP_A_PREFIX_ADDR,
        MPIP_A_PREFIX_LEN,
        MPIP_A_RULE_CGROUP,
        MPIP_A_RULE_DRAFT,
        MPIP_A_RULE_DSCP,
        MPIP_A_RULE_DST,
        MPIP_A_RULE_DST_LEN,
        MPIP_A_RULE_DST_PORT_MAX,
        MPIP_A_RULE_DST_PORT_MIN,
        MPIP_A_RULE_HITS,
        MPIP_A_RULE_INTERFACES,
        MPIP_A_RULE_INTERFACE_NAMES,
        MPIP_A_RULE_MAX_COST,
        MPIP_A_RULE_MAX_DELAY_US,
        MPIP_A_RULE_MAX_LOSS,
        MPIP_A_RULE_MIN_RATE,
        MPIP_A_RULE_MODE,
        MPIP_A_RULE_NUMBER,
        MPIP_A_RULE_ORDERED,
        MPIP_A_RULE_PRIORITY,
        MPIP_A_RULE_PROTOCOL,
        MPIP_A_RULE_SIZE_MAX,
        MPIP_A_RULE_SIZE_MIN,
        MPIP_A_RULE_SRC,
        MPIP_A_RULE_SRC_LEN,
        MPIP_A_RULE_SRC_PORT_MAX,
        MPIP_A_RULE_SRC_PORT_MIN,
        MPIP_A_RULE_UID_MAX,
        MPIP_A_RULE_UID_MIN,
        MPIP_A_SESSION_AGE_MS,
        MPIP_A_SESSION_HELD,
        MPIP_A_SESSION_HELD_BYTES,
        MPIP_A_SESSION_ID,
        MPIP_A_SESSION_IDLE_MS,
        MPIP_A_SESSION_INITIATOR,
        MPIP_A_SESSION_LANE,
        MPIP_A_SESSION_LOCAL,
        MPIP_A_SESSION_NEXT_SEQ,
        MPIP_A_SESSION_PEER,
        MPIP_A_SESSION_PROTOCOL,
        MPIP_A_SESSION_REMOTE,
        MPIP_A_SESSION_RULE,
        MPIP_A_SESSION_STATE,
        MPIP_CMD_AVAIL_GET,
        MPIP_CMD_COUNTER_GET,
        MPIP_CMD_EVENT,
        MPIP_CMD_GET,
        MPIP_CMD_INTERFACE_GET,
        MPIP_CMD_PARAM_GET,
        MPIP_CMD_PATH_GET,
        MPIP_CMD_PEER_GET,
        MPIP_CMD_PREFIX_GET,
        MPIP_CMD_RULE_GET,
        MPIP_CMD_SESSION_GET,
        MPIP_EVENT_KIND_ADDRESS_CHANGE,
        MPIP_EVENT_KIND_INTERFACE_DEMOTED,
        MPIP_EVENT_KIND_INTERFACE_PROMOTED,
        MPIP_EVENT_KIND_PATH_DOWN,
        MPIP_EVENT_KIND_PATH_RETURN,
        MPIP_EVENT_KIND_PATH_SUSPECT,
        MPIP_EVENT_KIND_PATH_UP,
        MPIP_EVENT_KIND_PEER_DOWN,
        MPIP_EVENT_KIND_PEER_UP,
        MPIP_EVENT_REASON_BUDGET,
        MPIP_EVENT_REASON_CROWDED,
        MPIP_EVENT_REASON_DISABLED,
        MPIP_EVENT_REASON_ENERGY,
        MPIP_EVENT_REASON_EXCLUDED,
        MPIP_EVENT_REASON_GOODBYE,
        MPIP_EVENT_REASON_IDLE,
        MPIP_EVENT_REASON_LOCAL_GONE,
        MPIP_EVENT_REASON_REMOTE_GONE,
        MPIP_EVENT_REASON_REPLACED,
        MPIP_EVENT_REASON_RESET,
        MPIP_EVENT_REASON_SILENT,
        MPIP_EVENT_REASON_STOPPED,
        MPIP_EVENT_REASON_UNREACHABLE,
        MPIP_INTERFACE_ROLE_BACKUP,
        MPIP_INTERFACE_ROLE_BUDGET,
        MPIP_INTERFACE_ROLE_ENERGY,
        MPIP_INTERFACE_ROLE_EXCLUDED,
        MPIP_INTERFACE_ROLE_USED,
        MPIP_LANE_REASON_BACKUP,
        MPIP_LANE_REASON_BUDGET,
        MPIP_LANE_REASON_DISABLED,
        MPIP_LANE_REASON_ENERGY,
        MPIP_LANE_REASON_EXCLUDED,
        MPIP_LANE_REASON_INTERFACE,
        MPIP_LANE_REASON_LIMITS,
        MPIP_LANE_REASON_NEVER,
        MPIP_LANE_REASON_NOT_CHOSEN,
        MPIP_LANE_REASON_PEER,
        MPIP_LANE_REASON_REPLACED,
        MPIP_LANE_REASON_STANDBY,
        MPIP_LANE_REASON_UNRELIABLE,
        MPIP_PATH_STATE_ACTIVE,
        MPIP_PATH_STATE_DISABLED,
        MPIP_PATH_STATE_GONE,
        MPIP_PATH_STATE_PENDING,
        MPIP_PATH_STATE_STANDBY,
        MPIP_PATH_STATE_SUSPECT,
        MPIP_RULE_MODE_ALL,
        MPIP_RULE_MODE_NEVER,
        MPIP_RULE_MODE_PROTECTED,
        MPIP_RULE_MODE_SELECTED,
        MPIP_RULE_MODE_SINGLE,
        MPIP_RULE_PRIORITY_LATENCY,
        MPIP_RULE_PRIORITY_THROUGHPUT, //
    };
}

/// The registered family.
pub struct Registration(());

impl Registration {
    /// Registers the family. Process context, once.
    pub fn new() -> Result<Registration> {
        // SAFETY: Called from module initialisation; the handlers are ready.
        to_result(unsafe { bindings::mpip_shim_genl_register() })?;
        EVENTS.store(true, Release);
        Ok(Registration(()))
    }
}

impl Drop for Registration {
    /// Waits for running requests, and for events that are being sent.
    fn drop(&mut self) {
        EVENTS.store(false, Release);
        // SAFETY: Pairs with `new`. Afterwards nobody is left who has read `EVENTS` before.
        unsafe {
            bindings::mpip_shim_synchronize_rcu();
            bindings::mpip_shim_genl_unregister();
        }
    }
}

// The context that `cursor` hands out must hold four numbers.
const _: () = assert!(core::mem::size_of::<[i64; 4]>() <= 48);
