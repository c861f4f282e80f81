// SPDX-License-Identifier: GPL-2.0

//! What is wanted of the host's interfaces: whether MPIP uses them, or only when nothing else
//! works, what they cost, how much they may carry and what they take of a battery.
//!
//! Interfaces are known by name here, so that a setting outlives the interface. What follows from
//! it for a path is a [`Role`], which is found out when something changes and not for a packet.

/// Interfaces that something can be set for at most.
pub const MAX_INTERFACES: usize = 64;

/// Bytes of an interface's name at most.
pub const MAX_NAME: usize = 15;

/// Length of a period if none is set, milliseconds: 30 days.
pub const PERIOD_MS: u64 = 30 * 86_400_000;

/// What an interface is taken to draw in use if nothing is set, milliwatts.
const PLAIN_MW: u32 = 1000;

/// Name of an interface.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Name([u8; MAX_NAME + 1]);

impl Name {
    /// `None` for what the kernel would not let an interface be called.
    pub fn new(text: &[u8]) -> Option<Name> {
        let wrong = |b: &u8| matches!(b, 0 | b'/' | b':') || b.is_ascii_whitespace() || *b == 11;
        if matches!(text, b"" | b"." | b"..") || text.len() > MAX_NAME || text.iter().any(wrong) {
            return None;
        }
        let mut name = [0; MAX_NAME + 1];
        for (to, from) in name.iter_mut().zip(text) {
            *to = *from;
        }
        Some(Name(name))
    }

    /// The name, with a zero behind it.
    pub fn as_bytes_with_nul(&self) -> &[u8; MAX_NAME + 1] {
        &self.0
    }

    /// The name.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|b| *b == 0).next().unwrap_or(&[])
    }

    /// The name, as far as it is one for people.
    pub fn as_str(&self) -> &str {
        core::str::from_utf8(self.as_bytes()).unwrap_or("?")
    }
}

/// How much may be carried in a period.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Bytes, both directions together; 0 for any number.
    pub bytes: u64,
    /// Length of a period, milliseconds.
    pub period_ms: u64,
}

/// What an interface draws.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Power {
    /// While it is in use, milliwatts.
    pub base_mw: u32,
    /// With each bit on top of that, nanojoules.
    pub bit_nj: u32,
}

impl Power {
    /// Bits for each joule, if so many bytes are carried in this time, milliseconds.
    pub fn bits_per_joule(&self, bytes: u64, ms: u64) -> u64 {
        let base = match (self.base_mw, self.bit_nj) {
            (0, 0) => PLAIN_MW,
            (base, _) => base,
        };
        const MICRO: u64 = 1_000_000;
        let mut bits = bytes.saturating_mul(8);
        // Milliwatts and milliseconds are microjoules.
        let idle = u64::from(base).saturating_mul(ms);
        let work = (bits / 1000).saturating_mul(self.bit_nj.into());
        let mut energy = idle.saturating_add(work);
        // So that it does not get too large.
        while bits > u64::MAX / MICRO {
            (bits, energy) = (bits >> 8, energy >> 8);
        }
        bits.saturating_mul(MICRO)
            .checked_div(energy)
            .unwrap_or(u64::MAX)
    }
}

/// What is set for an interface.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// It is one of those that are used while only enrolled ones are.
    pub enrolled: bool,
    /// It is not used.
    pub excluded: bool,
    /// It is used only when nothing else works.
    pub backup: bool,
    /// What rules may limit.
    pub cost: u32,
    /// How much it may carry before it becomes a backup.
    pub budget: Budget,
    /// What it draws.
    pub power: Power,
}

impl Settings {
    /// Those of an interface that nothing is set for.
    pub const PLAIN: Settings = Settings {
        enrolled: false,
        excluded: false,
        backup: false,
        cost: 0,
        budget: Budget {
            bytes: 0,
            period_ms: PERIOD_MS,
        },
        power: Power {
            base_mw: 0,
            bit_nj: 0,
        },
    };
}

/// Why a path is used only when nothing else works.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Reserve {
    /// This end wants it so.
    Backup = 1,
    /// What its interface may carry in the period is used up.
    Budget = 2,
    /// Another interface carries more for each joule.
    Energy = 3,
    /// The peer wants it so.
    Peer = 4,
    /// This end wants it so of the path alone, see [`Wish`].
    Standby = 5,
}

impl Reserve {
    /// The reason with this number; `None` for 0.
    pub const fn from_number(number: u32) -> Option<Reserve> {
        match number {
            1 => Some(Reserve::Backup),
            2 => Some(Reserve::Budget),
            3 => Some(Reserve::Energy),
            4 => Some(Reserve::Peer),
            5 => Some(Reserve::Standby),
            _ => None,
        }
    }
}

/// What is wanted of one path, besides what is wanted of its interface.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Wish {
    /// To be used as the interface is.
    Active = 0,
    /// Only when nothing else works.
    Standby = 1,
    /// Not at all.
    Disabled = 2,
}

impl Wish {
    /// The wish with this number.
    pub const fn from_number(number: u32) -> Option<Wish> {
        match number {
            0 => Some(Wish::Active),
            1 => Some(Wish::Standby),
            2 => Some(Wish::Disabled),
            _ => None,
        }
    }
}

/// What an interface's settings mean for a path by it.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Role {
    /// No added lane takes it.
    pub excluded: bool,
    /// Why it is used only when nothing else works.
    pub reserve: Option<Reserve>,
    /// What rules may limit.
    pub cost: u32,
}

impl Role {
    /// That of an interface that nothing is set for.
    pub const PLAIN: Role = Role {
        excluded: false,
        reserve: None,
        cost: 0,
    };

    /// That of an interface with these settings. `listed` says that only enrolled ones are used,
    /// `spent` that the budget is used up, `thrift` that another interface is to be used to save
    /// energy.
    pub fn new(settings: &Settings, listed: bool, spent: bool, thrift: bool) -> Role {
        let reasons = [
            (settings.backup, Reserve::Backup),
            (spent, Reserve::Budget),
            (thrift, Reserve::Energy),
        ];
        let reason = reasons.into_iter().find(|(is, _)| *is);
        Role {
            excluded: settings.excluded || listed && !settings.enrolled,
            reserve: reason.map(|(_, reason)| reason),
            cost: settings.cost,
        }
    }
}

/// Counts what an interface carries in a period.
#[derive(Copy, Clone, Debug)]
pub struct Meter {
    used: u64,
    begun_ms: u64,
    looked_ms: u64,
    // Index of the interface and what it had carried at the last look; `None` if it was not there.
    seen: Option<(u32, u64)>,
    // How fast it was used at the last look, bytes per second.
    rate: u64,
    spent: bool,
}

impl Meter {
    /// Longest time between two looks at an interface that has a budget, milliseconds.
    const LOOK_MS: u64 = 1000;
    /// And the shortest.
    const SOON_MS: u64 = 20;

    /// Counts from now on. `seen` is the interface's index and what it has carried, if it is there.
    pub fn new(now_ms: u64, seen: Option<(u32, u64)>) -> Meter {
        Meter {
            used: 0,
            begun_ms: now_ms,
            looked_ms: now_ms,
            seen,
            rate: 0,
            spent: false,
        }
    }

    /// Bytes carried in this period.
    pub fn used(&self) -> u64 {
        self.used
    }

    /// Says how much was carried in this period.
    pub fn set_used(&mut self, bytes: u64) {
        self.used = bytes;
    }

    /// Whether that is as much as may be.
    pub fn is_spent(&self) -> bool {
        self.spent
    }

    /// Time until the next period begins, milliseconds.
    pub fn left_ms(&self, now_ms: u64, budget: &Budget) -> u64 {
        let age = now_ms.saturating_sub(self.begun_ms);
        budget.period_ms.saturating_sub(age)
    }

    /// Takes in what the interface has carried by now. True if the budget has just been used up,
    /// or is there again.
    pub fn look(&mut self, now_ms: u64, seen: Option<(u32, u64)>, budget: &Budget) -> bool {
        let more = match (self.seen, seen) {
            (Some((before, old)), Some((now, total))) if before == now && total >= old => {
                total.saturating_sub(old)
            }
            // Another interface of that name, or it counts from the beginning.
            (_, Some((_, total))) => total,
            (_, None) => 0,
        };
        self.seen = seen;
        let age = now_ms.saturating_sub(self.begun_ms);
        let periods = age.checked_div(budget.period_ms).unwrap_or(0);
        if periods > 0 {
            let gone = periods.saturating_mul(budget.period_ms);
            self.begun_ms = self.begun_ms.saturating_add(gone);
            // The last look was a moment ago.
            self.used = 0;
        } else {
            self.used = self.used.saturating_add(more);
        }
        let time = now_ms.saturating_sub(self.looked_ms);
        if time > 0 {
            self.looked_ms = now_ms;
            self.rate = more.saturating_mul(1000).checked_div(time).unwrap_or(0);
        }
        let spent = budget.bytes != 0 && self.used >= budget.bytes;
        core::mem::replace(&mut self.spent, spent) != spent
    }

    /// When to look again, milliseconds: soon if little is left, at the speed of the last look.
    pub fn look_in(&self, now_ms: u64, budget: &Budget) -> u64 {
        let rest = budget.bytes.saturating_sub(self.used);
        let half = rest.saturating_mul(500).checked_div(self.rate);
        let half = half.filter(|_| !self.spent).unwrap_or(Self::LOOK_MS);
        let end = self.left_ms(now_ms, budget);
        half.min(end).clamp(Self::SOON_MS, Self::LOOK_MS)
    }
}

/// An interface that may be used, for [`Saver`].
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its index.
    pub ifindex: u32,
    /// What it has carried since it is there, bytes.
    pub bytes: u64,
    /// What it draws.
    pub power: Power,
}

/// Interfaces that are compared at most.
pub const MAX_CANDIDATES: usize = 32;

/// How long the phases of saving energy last, milliseconds.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Phases {
    /// All interfaces are used, to find out what they carry.
    pub probe_ms: u64,
    /// The thriftiest one is used.
    pub hold_ms: u64,
}

/// Saves energy: all interfaces are used for a while, then only the one that carries most bits for
/// each joule, for longer, and so on.
#[derive(Copy, Clone, Debug)]
pub struct Saver {
    since_ms: Option<u64>,
    // What each had carried when the probing began.
    begun: [(u32, u64); MAX_CANDIDATES],
    chosen: Option<u32>,
}

impl Saver {
    /// Who carries less than this together while probing tells nothing, bytes.
    const LEAST: u64 = 65_536;

    /// Nothing is known, nothing is saved.
    pub const fn new() -> Saver {
        Saver {
            since_ms: None,
            begun: [(0, 0); MAX_CANDIDATES],
            chosen: None,
        }
    }

    /// The interface to be used alone, if it is the time for that.
    pub fn chosen(&self) -> Option<u32> {
        self.chosen
    }

    /// Whether an interface is not to be used now.
    pub fn spares(&self, ifindex: u32) -> bool {
        self.chosen.is_some_and(|chosen| chosen != ifindex)
    }

    /// Goes on with what `all` interfaces have carried by now. True if another interface is to be
    /// used, or all of them again. With fewer than two, or if the one in use has gone, it begins
    /// anew.
    pub fn look(&mut self, now_ms: u64, phases: &Phases, all: &[Candidate]) -> bool {
        let before = self.chosen;
        let gone = before.is_some_and(|one| !all.iter().any(|c| c.ifindex == one));
        // One that comes while others are tried is tried for as long as they.
        let known = |one: &Candidate| self.begun.iter().any(|(index, _)| *index == one.ifindex);
        let fresh = before.is_none() && !all.iter().all(known);
        let usual = all.len() > 1 && !gone && !fresh;
        let Some(since) = self.since_ms.filter(|_| usual) else {
            self.probe(now_ms, all);
            return before.is_some();
        };
        let age = now_ms.saturating_sub(since);
        if before.is_some() {
            if age >= phases.hold_ms {
                self.probe(now_ms, all);
            }
        } else if age >= phases.probe_ms {
            match self.thriftiest(age, all) {
                Some(best) => {
                    self.chosen = Some(best);
                    self.since_ms = Some(now_ms);
                }
                None => self.probe(now_ms, all),
            }
        }
        self.chosen != before
    }

    /// When to look again, milliseconds.
    pub fn look_in(&self, now_ms: u64, phases: &Phases) -> u64 {
        let phase = match self.chosen {
            Some(_) => phases.hold_ms,
            None => phases.probe_ms,
        };
        let age = self.since_ms.map_or(phase, |at| now_ms.saturating_sub(at));
        phase.saturating_sub(age).clamp(1, 1000)
    }

    fn probe(&mut self, now_ms: u64, all: &[Candidate]) {
        *self = Saver::new();
        for (slot, one) in self.begun.iter_mut().zip(all) {
            *slot = (one.ifindex, one.bytes);
        }
        self.since_ms = Some(now_ms);
    }

    fn thriftiest(&self, ms: u64, all: &[Candidate]) -> Option<u32> {
        let carried = |one: &Candidate| {
            let begun = self.begun.iter().find(|(index, _)| *index == one.ifindex);
            begun.map_or(0, |(_, bytes)| one.bytes.saturating_sub(*bytes))
        };
        let sum = all.iter().map(carried).fold(0, u64::saturating_add);
        if sum < Self::LEAST {
            return None;
        }
        let worth = |one: &Candidate| one.power.bits_per_joule(carried(one), ms);
        // Of equals the first.
        let best = all.iter().rev().max_by_key(|one| worth(one))?;
        Some(best.ifindex)
    }
}

impl Default for Saver {
    fn default() -> Self {
        Saver::new()
    }
}

/// Why settings make no sense.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub enum Flaw {
    /// Both on the list of those that are used and on that of those that are not.
    Both,
}

impl Settings {
    /// What is wrong with them, if anything.
    pub fn flaw(&self) -> Option<Flaw> {
        (self.enrolled && self.excluded).then_some(Flaw::Both)
    }
}
