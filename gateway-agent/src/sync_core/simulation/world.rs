//! Time, and everything that happens in it.

use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use artifact::{Digest, Label};

use super::super::{Compared, Input, Output};
use super::agent::{Agent, Use, compile};
use super::chance::Chance;
use super::manager::{Asked, Fault, Next, Stream};
use super::store::{APIS, LABELS, Store, labels};
use crate::commands;

/// Faults happen until then, milliseconds.
const FAULTY: u64 = 120_000;
/// So long after the last fault everything has to be in step.
const CALM: u64 = 400_000;

const AGENTS: [&[&str]; 5] = [&["A"], &["B"], &["A", "B"], &["B", "C"], &["A", "B", "C"]];
const PUBLISHERS: usize = 3;

enum Event {
    /// For the agent's life of this number.
    Agent(usize, u64, Happens),
    Publish(usize),
    Announce,
    Start(usize),
    Restore,
}

enum Happens {
    Tick,
    Told(Input),
    Step(u64),
    Write,
    Crash,
    Connect,
    Disconnect,
    ClockJumps,
    Operator,
    Accept(Digest),
    /// A client asks for this tenant's APIs.
    Request(&'static str),
}

pub struct World {
    seed: u64,
    tell: bool,
    now: u64,
    chance: Chance,
    store: Store,
    agents: Vec<Agent>,
    streams: BTreeMap<(usize, u64, u64), Stream>,
    /// Committed and not announced yet: indexes of commits.
    outbox: VecDeque<usize>,
    due: BinaryHeap<Due>,
    events: BTreeMap<u64, Event>,
    next: u64,
    /// The database was restored from a backup in this run.
    restored: bool,
    /// There is a broker.
    broker: bool,
}

/// The earliest first, in the order in which they were made.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Due(std::cmp::Reverse<(u64, u64)>);

impl World {
    pub fn new(seed: u64, tell: bool) -> Self {
        let mut chance = Chance::new(seed);
        let agents = AGENTS.iter().map(|names| Agent::new(names, &mut chance));
        let agents = agents.collect();
        let mut world = Self {
            seed,
            tell,
            now: 0,
            broker: chance.percent(80),
            chance,
            store: Store::default(),
            agents,
            streams: BTreeMap::new(),
            outbox: VecDeque::new(),
            due: BinaryHeap::new(),
            events: BTreeMap::new(),
            next: 0,
            restored: false,
        };
        for agent in 0..AGENTS.len() {
            let at = world.chance.below(FAULTY / 3);
            world.at(at, Event::Start(agent));
        }
        for publisher in 0..PUBLISHERS {
            world.after(5000, Event::Publish(publisher));
        }
        world.after(500, Event::Announce);
        if world.chance.percent(10) {
            let at = FAULTY / 2 + world.chance.below(FAULTY / 2);
            world.at(at, Event::Restore);
        }
        world
    }

    fn faulty(&self) -> bool {
        self.now < FAULTY
    }

    fn at(&mut self, at: u64, event: Event) {
        self.next += 1;
        self.events.insert(self.next, event);
        self.due.push(Due(std::cmp::Reverse((at, self.next))));
    }

    /// Some time within so many milliseconds.
    fn after(&mut self, most: u64, event: Event) {
        let at = self.now + 1 + self.chance.below(most);
        self.at(at, event);
    }

    fn soon(&mut self, agent: usize, most: u64, happens: Happens) {
        let life = self.agents[agent].life;
        self.after(most, Event::Agent(agent, life, happens));
    }

    fn say(&self, what: impl FnOnce() -> String) {
        if self.tell {
            println!("{:>7} {}", self.now, what());
        }
    }

    pub fn run(mut self) -> Result<(), String> {
        while let Some(Due(std::cmp::Reverse((at, number)))) = self.due.pop() {
            if at > FAULTY + CALM {
                break;
            }
            self.now = at;
            if let Some(event) = self.events.remove(&number) {
                self.happen(event)
                    .map_err(|why| format!("after {at} ms: {why}"))?;
            }
        }
        for (number, agent) in self.agents.iter().enumerate() {
            agent.compare(&self.store, self.restored).map_err(|why| {
                format!(
                    "agent {number} in the end (restored: {}): {why}",
                    self.restored
                )
            })?;
        }
        Ok(())
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        match event {
            Event::Publish(publisher) => self.publish(publisher),
            Event::Announce => self.announce(),
            Event::Restore => self.restore(),
            Event::Start(agent) => {
                self.say(|| format!("agent {agent} starts"));
                let now = self.now;
                self.agents[agent].start(now)?;
                self.perform(agent)?;
                let uses: Vec<_> = self.agents[agent].uses.keys().copied().collect();
                for tenant in uses {
                    self.soon(agent, 8000, Happens::Request(tenant));
                }
                if self.broker {
                    self.soon(agent, 3000, Happens::Connect);
                }
                for (percent, most, happens) in [
                    (40, FAULTY, Happens::Crash),
                    (40, FAULTY, Happens::Disconnect),
                    (20, FAULTY, Happens::ClockJumps),
                    (30, FAULTY, Happens::Operator),
                ] {
                    if self.faulty() && self.chance.percent(percent) {
                        self.soon(agent, most, happens);
                    }
                }
            }
            Event::Agent(agent, life, happens) => {
                if self.agents[agent].life == life {
                    self.at_agent(agent, happens)?;
                }
            }
        }
        Ok(())
    }

    fn at_agent(&mut self, agent: usize, happens: Happens) -> Result<(), String> {
        match happens {
            Happens::Tick => {
                self.agents[agent].ticks = None;
                let uses = self.agents[agent].uses.iter();
                let uses = uses.map(|(tenant, (_, at))| ((*tenant).to_owned(), *at));
                let uses = Input::Used(uses.collect());
                self.handle(agent, uses)?;
                self.handle(agent, Input::Tick)
            }
            Happens::Told(input) => self.handle(agent, input),
            Happens::Step(id) => {
                self.step(agent, id);
                Ok(())
            }
            Happens::Write => {
                self.agents[agent].write();
                Ok(())
            }
            Happens::Crash if self.faulty() => {
                self.say(|| format!("agent {agent} crashes"));
                self.agents[agent].end();
                self.streams.retain(|(of, _, _), _| *of != agent);
                self.after(20_000, Event::Start(agent));
                Ok(())
            }
            Happens::Connect => {
                self.say(|| format!("agent {agent} subscribes"));
                self.agents[agent].connected = true;
                self.handle(agent, Input::Subscribed)
            }
            Happens::Disconnect if self.faulty() && self.agents[agent].connected => {
                self.say(|| format!("agent {agent} loses the broker"));
                self.agents[agent].connected = false;
                self.soon(agent, 20_000, Happens::Connect);
                self.handle(agent, Input::Lost)
            }
            Happens::ClockJumps => {
                self.agents[agent].ahead += self.chance.below(4_000_000);
                self.handle(agent, Input::Tick)
            }
            Happens::Operator => {
                let asked = commands::Asked {
                    tenant: "carbon.super".into(),
                    name: format!("api{}", self.chance.below(APIS)),
                    version: "1".into(),
                    labels: Vec::new(),
                    by: "olga".into(),
                };
                self.say(|| format!("agent {agent}: operator on {}", asked.name));
                let command = 1;
                if self.chance.percent(60) {
                    self.handle(agent, Input::Undeploy { command, asked })
                } else {
                    self.handle(agent, Input::Redeploy { command, asked })
                }
            }
            Happens::Request(tenant) => self.request(agent, tenant),
            Happens::Accept(repair) => self.handle(agent, Input::Accept(repair)),
            Happens::Crash | Happens::Disconnect => Ok(()),
        }
    }

    fn request(&mut self, agent: usize, tenant: &'static str) -> Result<(), String> {
        let it = &mut self.agents[agent];
        let now = self.now + it.ahead;
        let Some((how, last)) = it.uses.get_mut(tenant) else {
            return Ok(());
        };
        let most = match how {
            Use::Never => return Ok(()),
            // In the end nobody waits any more.
            Use::Rare if self.now > FAULTY + CALM - 60_000 => return Ok(()),
            Use::Rare => 120_000,
            Use::Busy => 8000,
        };
        *last = now;
        self.soon(agent, most, Happens::Request(tenant));
        let core = self.agents[agent].core.as_ref();
        let known = core.and_then(|core| core.tenants().known.get(tenant).copied());
        if known == Some(false) {
            self.say(|| format!("agent {agent}: a request for {tenant} waits"));
            return self.handle(agent, Input::Needed(tenant.to_owned()));
        }
        Ok(())
    }

    fn publish(&mut self, publisher: usize) {
        if !self.faulty() {
            return;
        }
        let api = self.chance.below(APIS);
        let mut to: BTreeSet<Label> = BTreeSet::new();
        if !self.chance.percent(20) {
            for label in labels(&LABELS) {
                if self.chance.percent(60) {
                    to.insert(label);
                }
            }
        }
        let bad = self.chance.percent(10);
        let time = i64::try_from(self.now).unwrap();
        if self.store.save(api, &to, bad, time) {
            let commit = self.store.commits.len() - 1;
            self.outbox.push_back(commit);
            self.say(|| format!("commit {commit}: api{api} to {to:?}, bad {bad}"));
            // Watch streams see it.
            let idle: Vec<_> = self.streams.iter_mut().filter(|(_, it)| it.idle).collect();
            let mut woken = Vec::new();
            for (key, stream) in idle {
                stream.idle = false;
                woken.push(*key);
            }
            for (agent, life, id) in woken {
                self.after(200, Event::Agent(agent, life, Happens::Step(id)));
            }
        }
        // A publisher that crashes comes back later; what it has committed is announced by others.
        let crashes = self.chance.percent(5);
        self.after(
            if crashes { 30_000 } else { 6_000 },
            Event::Publish(publisher),
        );
    }

    /// The outbox relay: some time, at least once, in any order.
    fn announce(&mut self) {
        if !self.outbox.is_empty() {
            let place = self.chance.index(self.outbox.len());
            let commit = self.outbox[place];
            // A relay that crashes between sending and deleting sends again.
            if !(self.faulty() && self.chance.percent(10)) {
                self.outbox.remove(place);
            }
            let entries = self.store.commits.get(commit).map(|it| it.entries.clone());
            for agent in 0..self.agents.len() {
                for (label, entry) in entries.iter().flatten() {
                    let dropped = self.faulty() && self.chance.percent(15);
                    if !self.agents[agent].connected || dropped {
                        continue;
                    }
                    let seq = Some(entry.seq).filter(|_| !self.chance.percent(10));
                    let said = Input::Announced {
                        label: label.clone(),
                        seq,
                    };
                    let most = if self.faulty() { 5000 } else { 50 };
                    self.soon(agent, most, Happens::Told(said));
                }
            }
        }
        if self.faulty() || !self.outbox.is_empty() {
            self.after(1500, Event::Announce);
        }
    }

    /// The database is restored from a backup, and goes on from there.
    fn restore(&mut self) {
        let keep = self.chance.index(self.store.commits.len() + 1);
        self.say(|| format!("the database is restored to its first {keep} commits"));
        self.store.commits.truncate(keep);
        self.store.incarnation += 1;
        self.outbox.retain(|commit| *commit < keep);
        self.restored = true;
    }

    fn handle(&mut self, agent: usize, input: Input) -> Result<(), String> {
        let it = &mut self.agents[agent];
        let now = self.now + it.ahead;
        if let Some(core) = &mut it.core {
            core.handle(now, input);
        }
        self.perform(agent)
    }

    fn perform(&mut self, agent: usize) -> Result<(), String> {
        loop {
            let it = &mut self.agents[agent];
            let Some(output) = it.core.as_mut().and_then(super::super::Core::output) else {
                break;
            };
            self.output(agent, output)?;
        }
        let it = &self.agents[agent];
        if let Some(wake) = it.core.as_ref().and_then(super::super::Core::wake) {
            if wake <= self.now + it.ahead {
                return Err(format!(
                    "agent {agent} wants to be woken at once, again and again"
                ));
            }
            let life = it.life;
            let at = wake.saturating_sub(it.ahead).max(self.now + 1);
            if it.ticks.is_none_or(|ticks| at < ticks) {
                self.agents[agent].ticks = Some(at);
                self.at(at, Event::Agent(agent, life, Happens::Tick));
            }
        }
        Ok(())
    }

    fn output(&mut self, agent: usize, output: Output) -> Result<(), String> {
        match output {
            Output::Pull { label, id, wanted } => {
                let worked = false;
                self.ask(agent, id, label, Asked::Pull { wanted, worked });
            }
            Output::AskDigest { label, id } => self.ask(agent, id, label, Asked::Digest),
            Output::AskIndex { label, id } => self.ask(agent, id, label, Asked::Index),
            Output::Fetch {
                label,
                id,
                ranges,
                tenant,
            } => {
                self.ask(agent, id, label, Asked::Fetch { ranges, tenant });
            }
            Output::Cancel { id } => {
                let life = self.agents[agent].life;
                self.streams.remove(&(agent, life, id));
            }
            Output::GoOn { id } => self.soon(agent, 20, Happens::Step(id)),
            Output::Compile(entries) => {
                let compiled = entries.into_iter().map(compile).collect();
                let most = if self.chance.percent(10) { 3000 } else { 30 };
                self.soon(agent, most, Happens::Told(Input::Compiled(compiled)));
            }
            Output::Swap => {
                let restored = self.restored;
                let Self { agents, store, .. } = self;
                agents[agent]
                    .look(store, restored)
                    .map_err(|why| format!("agent {agent}: {why}"))?;
            }
            Output::Report(notice) => self.agents[agent].hear(notice),
            Output::Record(record) => {
                let ledger = &mut self.agents[agent].ledger;
                ledger.applied(*record);
                self.soon(agent, 2000, Happens::Write);
            }
            Output::Compared { label, outcome } => {
                self.say(|| format!("agent {agent} compared {label}: {outcome:?}"));
                if let Compared::Held(held) = outcome
                    && self.restored
                {
                    self.soon(agent, 10_000, Happens::Accept(held.repair));
                }
            }
            Output::Trouble { label, trouble } => {
                self.say(|| format!("agent {agent} cannot pull {label}: {trouble:?}"));
            }
            Output::Tenants(told) => {
                self.say(|| format!("agent {agent} has loaded {told:?}"));
            }
            Output::Progress(_)
            | Output::Applied { .. }
            | Output::Undeployed { .. }
            | Output::Direct { .. }
            | Output::Redeployed { .. } => {}
        }
        Ok(())
    }

    fn ask(&mut self, agent: usize, id: u64, label: Label, what: Asked) {
        let fault = if self.faulty() {
            Fault::pick(&mut self.chance)
        } else {
            None
        };
        self.say(|| format!("agent {agent} asks {id} of {label}: {what:?}, {fault:?}"));
        let life = self.agents[agent].life;
        let stream = Stream {
            label,
            what,
            fault,
            artifacts_of: self.agents[agent].artifacts_of(),
            idle: false,
        };
        self.streams.insert((agent, life, id), stream);
        let most = if fault == Some(Fault::Silent) {
            30_000
        } else {
            50
        };
        self.soon(agent, most, Happens::Step(id));
    }

    fn step(&mut self, agent: usize, id: u64) {
        let key = (agent, self.agents[agent].life, id);
        let faulty = self.faulty();
        let Some(stream) = self.streams.get_mut(&key) else {
            return;
        };
        if !faulty && stream.fault != Some(Fault::Silent) {
            stream.fault = None;
        }
        match stream.step(id, &self.store, &mut self.chance) {
            Next::Say(input) => self.soon(agent, 10, Happens::Told(input)),
            Next::End(input) => {
                self.streams.remove(&key);
                self.soon(agent, 10, Happens::Told(input));
            }
            Next::Idle => stream.idle = true,
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("LOCKSTEP_SEED={} panicked after {} ms", self.seed, self.now);
        }
    }
}
