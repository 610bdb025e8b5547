//! What the runtime and the helper say to each other: the profile once, in a sealed memory file that
//! no argument list or environment shows, then orders, and reports until [`Report::Gone`]. The socket's end is an end as well:
//! the helper that can no longer hear the runtime ends its command.
use std::fs::File;
use std::io::{IoSlice, IoSliceMut, Read as _, Seek as _, Write as _};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, SocketFlags, SocketType, recv, recvmsg, send, sendmsg, socketpair,
};
use rustix::process::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::helper::{Step, Unmade, step};
use crate::limits::{PROFILE_BYTES_MAX, REPORT_BYTES_MAX};
use crate::profile::{Base, Bind, Plan, Profile, Walls};
use crate::tree;

/// What became of the command, as the helper saw it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Report {
    Exited(i32),
    Signalled(i32),
    /// The sandbox could not be made; the command did not run.
    Failed(Unmade),
    /// An order was carried out.
    Obeyed,
    /// No process of the sandbox is left.
    Gone,
}

/// What the runtime tells the first process of a sandbox that it holds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Order {
    /// No process of the sandbox computes until the next order.
    Rest,
    Work,
}

impl Order {
    const ALL: [(Self, u8); 2] = [(Self::Rest, b'r'), (Self::Work, b'w')];
}

pub fn order(control: impl AsFd, order: Order) -> std::io::Result<()> {
    let byte = Order::ALL.iter().find(|(known, _)| *known == order).map_or(0, |(_, byte)| *byte);
    send(control, &[byte], SendFlags::NOSIGNAL)?;
    Ok(())
}

/// `None`: there is no order, or the runtime is gone.
pub fn take_order(control: impl AsFd) -> Option<Order> {
    let mut byte = [0u8; 1];
    let (length, _) = recv(control, &mut byte, RecvFlags::DONTWAIT).ok()?;
    let [byte] = byte;
    Order::ALL.iter().find(|(_, known)| length == 1 && *known == byte).map(|(order, _)| *order)
}

/// The runtime's end and the helper's.
pub fn pair() -> std::io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// What a helper does before there is a command for it.
pub fn send_base(control: impl AsFd, base: &Base) -> Step<()> {
    hand(control, base, None, is_cut(base).then_some(&base.binds))
}

/// With what the command reads, where it reads anything.
pub fn send_profile(control: impl AsFd, Plan { base, profile }: &Plan, stdin: Option<BorrowedFd<'_>>) -> Step<()> {
    hand(control, profile, stdin, is_cut(base).then_some(&profile.binds))
}

/// What only root can reach is cut loose by root.
fn is_cut(base: &Base) -> bool {
    base.walls == Walls::Namespaces && geteuid().is_root()
}

/// Their trees follow.
const CUT: u8 = b'c';
const UNCUT: u8 = b'p';
/// Of the 253 that one message may have.
const TREES_AT_ONCE: usize = 64;

fn hand(control: impl AsFd, said: &impl Serialize, stdin: Option<BorrowedFd<'_>>, cut: Option<&Vec<Bind>>) -> Step<()> {
    let kind = if cut.is_some() { CUT } else { UNCUT };
    send_words(&control, kind, said, stdin).map_err(step("handing over the profile"))?;
    for binds in cut.into_iter().flat_map(|binds| binds.chunks(TREES_AT_ONCE)) {
        let trees = binds.iter().map(tree::cut).collect::<Step<Vec<OwnedFd>>>()?;
        let trees: Vec<BorrowedFd<'_>> = trees.iter().map(AsFd::as_fd).collect();
        send_descriptors(&control, b't', &trees).map_err(step("handing over what is granted"))?;
    }
    Ok(())
}

fn send_words(
    control: impl AsFd,
    kind: u8,
    said: &impl Serialize,
    stdin: Option<BorrowedFd<'_>>,
) -> std::io::Result<()> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let mut memory = File::from(memfd_create("backstay-profile", flags)?);
    memory.write_all(&serde_json::to_vec(said)?)?;
    memory.rewind()?;
    fcntl_add_seals(&memory, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(memory.as_fd()).chain(stdin).collect();
    send_descriptors(control, kind, &descriptors)
}

/// What a helper is given.
pub struct Given<T> {
    pub said: T,
    pub stdin: Option<OwnedFd>,
    /// Those of its binds, where the helper may not cut them loose itself.
    pub trees: Option<Vec<OwnedFd>>,
}

pub fn receive_base(control: impl AsFd) -> std::io::Result<Given<Base>> {
    receive(control, |base: &Base| base.binds.len())
}

pub fn receive_profile(control: impl AsFd) -> std::io::Result<Given<Profile>> {
    receive(control, |profile: &Profile| profile.binds.len())
}

fn receive<T: DeserializeOwned>(control: impl AsFd, binds: fn(&T) -> usize) -> std::io::Result<Given<T>> {
    let (kind, given) = receive_descriptors(&control)?;
    let mut given = given.into_iter();
    let (memory, stdin) = (given.next(), given.next());
    let memory = memory.ok_or_else(|| std::io::Error::other("nobody gave this helper a profile"))?;
    let mut text = String::new();
    File::from(memory).take(PROFILE_BYTES_MAX).read_to_string(&mut text)?;
    let said: T = serde_json::from_str(&text)?;
    let mut trees = Vec::new();
    while kind == CUT && trees.len() < binds(&said) {
        let (_, more) = receive_descriptors(&control)?;
        if more.is_empty() {
            return Err(std::io::Error::other("the runtime has granted less than its profile says"));
        }
        trees.extend(more);
    }
    Ok(Given { said, stdin, trees: (kind == CUT).then_some(trees) })
}

fn send_descriptors(control: impl AsFd, kind: u8, descriptors: &[BorrowedFd<'_>]) -> std::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TREES_AT_ONCE))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
    sendmsg(control, &[IoSlice::new(&[kind])], &mut ancillary, SendFlags::NOSIGNAL)?;
    Ok(())
}

fn receive_descriptors(control: impl AsFd) -> std::io::Result<(u8, Vec<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(TREES_AT_ONCE))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut kind = [0u8; 1];
    recvmsg(control, &mut [IoSliceMut::new(&mut kind)], &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let given = ancillary.drain().find_map(|message| {
        if let RecvAncillaryMessage::ScmRights(descriptors) = message { Some(descriptors.collect()) } else { None }
    });
    let [kind] = kind;
    Ok((kind, given.unwrap_or_default()))
}

/// The first word of a helper whose command has a way out: where it will connect.
pub fn give_listener(control: impl AsFd, listener: &TcpListener) -> std::io::Result<()> {
    send_descriptors(control, b'l', &[listener.as_fd()])
}

/// Waits for it no longer than this; a helper that has no listener to give says why in a report, if it can.
pub fn take_listener(control: impl AsFd, patience: Duration) -> Result<TcpListener, Option<Unmade>> {
    let mut one = [PollFd::new(&control, PollFlags::IN)];
    let time = Timespec { tv_sec: i64::try_from(patience.as_secs()).unwrap_or(0), tv_nsec: 0 };
    rustix::io::retry_on_intr(|| poll(&mut one, Some(&time))).map_err(|_| None)?;
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut bytes = [0u8; REPORT_BYTES_MAX];
    let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
    let mut take = || recvmsg(&control, &mut [IoSliceMut::new(&mut bytes)], &mut ancillary, flags);
    let read = match take() {
        // It has ended without its profile. What it said before is still there.
        Err(Errno::CONNRESET) => take(),
        taken => taken,
    };
    let read = read.map_err(|_| None)?;
    let given = ancillary.drain().find_map(|message| {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message { descriptors.next() } else { None }
    });
    given.map(TcpListener::from).ok_or_else(|| match bytes.get(..read.bytes).map(serde_json::from_slice) {
        Some(Ok(Report::Failed(why))) => Some(why),
        Some(_) | None => None,
    })
}

/// A report that nobody takes is of no use to anybody.
pub fn report(control: impl AsFd, report: &Report) {
    let mut text = serde_json::to_vec(report).unwrap_or_default();
    text.truncate(REPORT_BYTES_MAX);
    let _ = send(control, &text, SendFlags::NOSIGNAL);
}

/// `None`: the helper ended without one.
pub fn take_report(control: impl AsFd) -> Option<Report> {
    let mut bytes = [0u8; REPORT_BYTES_MAX];
    let mut take = || recv(&control, &mut bytes, RecvFlags::DONTWAIT);
    let (length, _) = match take() {
        // It has ended without its profile. What it said before is still there, and is given to whoever asks again.
        Err(Errno::CONNRESET) => take(),
        taken => taken,
    }
    .ok()?;
    serde_json::from_slice(bytes.get(..length)?).ok()
}
