//! Who holds how much of the door: connections and event streams of every principal are counted, and
//! ordinary principals together never hold so much that an operator does not get in.
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use axum::body::Body;
use axum::response::Response;
use backstay_engine::Caller;
use backstay_kernel::policy::Role;
use bytes::Bytes;
use hyper::body::{Frame, SizeHint};

use crate::error::{Problem, Why};
use crate::limits::ORDINARY_MAX;

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum What {
    /// Or a call that came through a trusted proxy: what one such connection carries is many
    /// people's.
    Connection,
    Stream,
}

#[derive(Clone, Debug)]
pub struct Places(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    per_principal: AtomicU32,
    held: Mutex<Held>,
}

#[derive(Default, Debug)]
struct Held {
    by: HashMap<(String, What), u32>,
    /// Connections of all ordinary principals.
    ordinary: u32,
}

/// Something held, until it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Places,
    principal: String,
    what: What,
    is_ordinary: bool,
}

impl Places {
    #[must_use]
    pub fn new(per_principal: u32) -> Self {
        Self(Arc::new(Inner { per_principal: AtomicU32::new(per_principal), held: Mutex::default() }))
    }

    /// What is held already stays.
    pub fn set(&self, per_principal: u32) {
        self.0.per_principal.store(per_principal, Ordering::Relaxed);
    }

    /// # Errors
    /// The principal, or all ordinary ones together, hold as much as they may.
    pub fn connection(&self, caller: &Caller) -> Result<Place, Problem> {
        self.take(caller, What::Connection, self.per_principal())
    }

    /// # Errors
    /// The principal has as many streams as it may: a quarter of its connections is left to speak
    /// and to approve by.
    pub fn stream(&self, caller: &Caller) -> Result<Place, Problem> {
        let most = self.per_principal();
        self.take(caller, What::Stream, most.saturating_sub(most.div_ceil(4)).max(1))
    }

    fn take(&self, caller: &Caller, what: What, most: u32) -> Result<Place, Problem> {
        let is_ordinary = what == What::Connection && is_ordinary(caller.role);
        let mut held = self.lock();
        if is_ordinary && held.ordinary >= ORDINARY_MAX {
            let message = "all connections that are not kept for operators are in use";
            return Err(Problem::new(Why::Full, message, "try again later"));
        }
        let count = held.by.entry((caller.principal.clone(), what.clone())).or_insert(0);
        if *count >= most {
            return Err(too_many(&what, most));
        }
        *count += 1;
        held.ordinary += u32::from(is_ordinary);
        Ok(Place { places: self.clone(), principal: caller.principal.clone(), what, is_ordinary })
    }

    fn per_principal(&self) -> u32 {
        self.0.per_principal.load(Ordering::Relaxed)
    }

    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn is_ordinary(role: Role) -> bool {
    match role {
        Role::Owner | Role::Operator | Role::Metrics => false,
        Role::Approver | Role::User => true,
    }
}

fn too_many(what: &What, most: u32) -> Problem {
    let things = match what {
        What::Connection => "connections",
        What::Stream => "event streams",
    };
    let message = format!("this principal has {most} {things} open");
    let next = "close some, or let the operator raise [limits] connections_per_principal";
    Problem::new(Why::TooManyConnections, message, next)
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut held = self.places.lock();
        held.ordinary -= u32::from(self.is_ordinary);
        let key = (std::mem::take(&mut self.principal), self.what.clone());
        if let Some(count) = held.by.get_mut(&key) {
            *count -= 1;
            if *count == 0 {
                held.by.remove(&key);
            }
        }
    }
}

/// The place of a connection: it is its latest caller's.
#[derive(Clone, Default, Debug)]
pub struct Seat(Arc<Mutex<Option<Place>>>);

impl Seat {
    /// # Errors
    /// As [`Places::connection`]; then the seat is empty.
    pub fn sit(&self, places: &Places, caller: &Caller) -> Result<(), Problem> {
        let mut seat = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |place: &Place| place.principal == caller.principal && place.is_ordinary == is_ordinary(caller.role);
        if !seat.as_ref().is_some_and(same) {
            drop(seat.take());
            *seat = Some(places.connection(caller)?);
        }
        Ok(())
    }
}

/// An answer that holds a place until its last byte is sent, or it is dropped.
pub fn holding(response: Response, place: Place) -> Response {
    response.map(|body| Body::new(Holding { body, _place: place }))
}

struct Holding {
    body: Body,
    _place: Place,
}

impl hyper::body::Body for Holding {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use backstay_kernel::home::Speaks;

    fn caller(principal: &str, role: Role) -> Caller {
        Caller { principal: principal.into(), role, channel: "api".into(), speaks: Speaks::Program }
    }

    fn code(problem: &Problem) -> &'static str {
        problem.why.word()
    }

    #[test]
    fn a_principal_has_its_share_and_a_quarter_of_it_is_no_stream() {
        let places = Places::new(4);
        let (ann, bob) = (caller("ann", Role::User), caller("bob", Role::User));
        let mut held: Vec<_> = (0..4).map(|_| places.connection(&ann).unwrap()).collect();
        assert_eq!(code(&places.connection(&ann).unwrap_err()), "too_many_connections");
        assert!(places.connection(&bob).is_ok());
        let streams: Vec<_> = (0..3).map(|_| places.stream(&ann).unwrap()).collect();
        assert_eq!(code(&places.stream(&ann).unwrap_err()), "too_many_connections");
        held.pop();
        held.push(places.connection(&ann).unwrap());
        places.set(5);
        held.push(places.connection(&ann).unwrap());
        drop((held, streams));
        let left = places.lock();
        assert!(left.by.is_empty() && left.ordinary == 0);
    }

    #[test]
    fn operators_get_in_where_all_others_hold_what_they_may() {
        let places = Places::new(ORDINARY_MAX);
        let held: Vec<_> =
            (0..ORDINARY_MAX).map(|n| places.connection(&caller(&format!("p{n}"), Role::User)).unwrap()).collect();
        assert_eq!(code(&places.connection(&caller("late", Role::Approver)).unwrap_err()), "full");
        assert!(places.connection(&caller("oper", Role::Operator)).is_ok());
        assert!(places.connection(&caller("prom", Role::Metrics)).is_ok());
        drop(held);
        assert!(places.connection(&caller("late", Role::Approver)).is_ok());
    }

    #[test]
    fn a_seat_is_its_latest_callers() {
        let places = Places::new(1);
        let (first, second) = (Seat::default(), Seat::default());
        let (ann, bob) = (caller("ann", Role::User), caller("bob", Role::User));
        first.sit(&places, &ann).unwrap();
        first.sit(&places, &ann).unwrap();
        assert!(second.sit(&places, &ann).is_err());
        first.sit(&places, &bob).unwrap();
        second.sit(&places, &ann).unwrap();
        drop((first, second));
        assert!(places.lock().by.is_empty());
    }
}
