//! A partition: packets between some addresses vanish, in all their namespaces at once.

use super::filter::{Direction, Filter, Rule};
use super::namespace::NetError;
use futures_util::future::join_all;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Somebody with an address: a node, or a station on the harness's side.
#[derive(Clone, Debug)]
pub struct End {
    /// Its address.
    pub address: IpAddr,
    /// The filter of its namespace; a station has none.
    pub filter: Option<Arc<Filter>>,
}

/// Packets of one party to another; the other way is a way of its own.
#[derive(Clone, Debug)]
pub struct Way {
    /// Who sends.
    pub from: End,
    /// Who receives.
    pub to: End,
}

/// What one namespace has to do with it.
type Rules = (Arc<Filter>, Vec<Rule>);

/// A partition in force.
#[derive(Debug)]
#[must_use = "a partition lasts until it is healed"]
pub struct Cut {
    rules: Vec<Rules>,
    /// How long it took until all packets vanished, after the first may have.
    pub took: Duration,
}

/// The ways between two sides, both directions. An end on both sides does not lose itself.
pub fn between(one: &[End], other: &[End]) -> Vec<Way> {
    [towards(one, other), towards(other, one)].concat()
}

/// The ways from one side to the other.
pub fn towards(from: &[End], to: &[End]) -> Vec<Way> {
    let ways = from.iter().flat_map(|from| to.iter().map(move |to| (from, to)));
    let apart = ways.filter(|(from, to)| from.address != to.address);
    apart.map(|(from, to)| Way { from: from.clone(), to: to.clone() }).collect()
}

impl Cut {
    /// Lets the packets of these ways vanish, each namespace by one transaction, all at the same time. When it
    /// fails, nothing is cut.
    pub async fn set(ways: &[Way]) -> Result<Cut, NetError> {
        let began = Instant::now();
        let rules = rules(ways)?;
        let set = join_all(rules.iter().map(|(filter, rules)| filter.block(rules))).await;
        let mut cut = Cut { rules: Vec::new(), took: began.elapsed() };
        let mut failed = None;
        for (rules, result) in rules.into_iter().zip(set) {
            match result {
                Ok(_) => cut.rules.push(rules),
                Err(error) => failed = Some(error),
            }
        }
        let Some(error) = failed else { return Ok(cut) };
        match cut.heal().await {
            Ok(_) => Err(error),
            Err(left) => Err(NetError::Left(format!("{error}\n{left}"))),
        }
    }

    /// Lets them through again; returns how long it took. A namespace that is gone needs no healing.
    pub async fn heal(&self) -> Result<Duration, NetError> {
        let began = Instant::now();
        let healed = join_all(self.rules.iter().map(|(filter, rules)| filter.unblock(rules))).await;
        healed.into_iter().collect::<Result<Vec<_>, _>>()?;
        Ok(began.elapsed())
    }
}

/// By namespace, which packets are to vanish: at the receiver if that has a filter, so that the sender's
/// kernel notices nothing, else at the sender.
fn rules(ways: &[Way]) -> Result<Vec<Rules>, NetError> {
    let mut all: Vec<Rules> = Vec::new();
    for Way { from, to } in ways {
        let (filter, rule) = match (&from.filter, &to.filter) {
            (_, Some(receiver)) => (receiver, (from.address, Direction::In)),
            (Some(sender), None) => (sender, (to.address, Direction::Out)),
            (None, None) => return Err(NetError::NoFilter { from: from.address, to: to.address }),
        };
        match all.iter_mut().find(|(other, _)| Arc::ptr_eq(other, filter)) {
            Some((_, rules)) if rules.contains(&rule) => {}
            Some((_, rules)) => rules.push(rule),
            None => all.push((filter.clone(), vec![rule])),
        }
    }
    Ok(all)
}
