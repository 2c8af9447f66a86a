//! TCP for a client: a thread per connection connects and reads, the caller's thread writes.
//!
//! Always: it executes what `Links` decides and decides nothing itself; after `Close` a connection reports nothing more.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream, ToSocketAddrs};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

use bytes::Bytes;

use super::address::Address;
use super::links::{LinkEffect, LinkEvent, LinkId};

const CONNECT_MAX: Duration = Duration::from_secs(5);
const WRITE_MAX: Duration = Duration::from_secs(30);
/// BOUND: no answer of a broker is larger; its length is not believed beyond that.
const FRAME_BYTES_MAX: usize = 512 << 20;
/// The buffer of a frame grows by what has arrived, not by what its length says.
const FRAME_STEP_BYTES: usize = 1 << 20;

enum Report {
    Connected(LinkId, TcpStream),
    Event(LinkEvent),
}

/// The connections.
pub struct Transport {
    streams: BTreeMap<LinkId, Option<TcpStream>>,
    reports: Receiver<Report>,
    reporter: Sender<Report>,
}

impl Transport {
    /// No connection yet.
    pub fn new() -> Self {
        let (reporter, reports) = channel();
        Self {
            streams: BTreeMap::new(),
            reports,
            reporter,
        }
    }

    /// Carries out an effect. Whatever fails is reported as an event.
    pub fn execute(&mut self, effect: LinkEffect) {
        match effect {
            LinkEffect::Open(link, address) => {
                self.streams.insert(link, None);
                let reporter = self.reporter.clone();
                std::thread::spawn(move || run(link, &address, &reporter));
            }
            LinkEffect::Send(link, parts) => {
                let Some(Some(stream)) = self.streams.get_mut(&link) else {
                    return;
                };
                if let Err(error) = send(stream, &parts) {
                    // The reader sees the end of the connection and reports it.
                    let _ = stream.shutdown(Shutdown::Both);
                    let _ = self
                        .reporter
                        .send(Report::Event(LinkEvent::Closed(link, error.to_string())));
                }
            }
            LinkEffect::Close(link) => self.close(link),
        }
    }

    /// The next event, if one comes within `wait`.
    pub fn next(&mut self, wait: Duration) -> Option<LinkEvent> {
        let mut wait = wait;
        loop {
            let report = match self.reports.recv_timeout(wait) {
                Ok(report) => report,
                Err(RecvTimeoutError::Timeout) => return None,
                Err(RecvTimeoutError::Disconnected) => {
                    unreachable!("the transport holds a sender itself")
                }
            };
            wait = Duration::ZERO;
            match report {
                Report::Connected(link, stream) => {
                    if let Some(place) = self.streams.get_mut(&link) {
                        *place = Some(stream);
                        return Some(LinkEvent::Opened(link));
                    }
                    let _ = stream.shutdown(Shutdown::Both);
                }
                Report::Event(event) => {
                    let (LinkEvent::Opened(link)
                    | LinkEvent::Frame(link, _)
                    | LinkEvent::Closed(link, _)) = &event;
                    let link = *link;
                    if self.streams.contains_key(&link) {
                        if matches!(event, LinkEvent::Closed(..)) {
                            self.close(link);
                        }
                        return Some(event);
                    }
                }
            }
        }
    }

    fn close(&mut self, link: LinkId) {
        if let Some(Some(stream)) = self.streams.remove(&link) {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Transport {
    fn drop(&mut self) {
        for stream in self.streams.values().flatten() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// The thread of a connection.
fn run(link: LinkId, address: &Address, reporter: &Sender<Report>) {
    let connected = connect(address).and_then(|stream| Ok((stream.try_clone()?, stream)));
    let closed = match connected {
        Ok((mut reader, stream)) => {
            if reporter.send(Report::Connected(link, stream)).is_err() {
                return;
            }
            read_frames(link, &mut reader, reporter)
        }
        Err(error) => describe(&error),
    };
    // Nobody listens any more once the client is gone.
    let _ = reporter.send(Report::Event(LinkEvent::Closed(link, closed)));
}

/// Tries each address that a name stands for.
fn connect(address: &Address) -> io::Result<TcpStream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name stands for no address");
    for resolved in (address.host.as_str(), address.port).to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, CONNECT_MAX) {
            Ok(stream) => {
                stream.set_nodelay(true)?;
                stream.set_write_timeout(Some(WRITE_MAX))?;
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Reads until the connection ends, and says why it did.
fn read_frames(link: LinkId, stream: &mut TcpStream, reporter: &Sender<Report>) -> String {
    loop {
        match read_frame(stream) {
            Ok(frame) => {
                if reporter
                    .send(Report::Event(LinkEvent::Frame(link, frame)))
                    .is_err()
                {
                    return String::new();
                }
            }
            Err(error) => return describe(&error),
        }
    }
}

fn read_frame(stream: &mut TcpStream) -> io::Result<Bytes> {
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
    if length > FRAME_BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "what it sends is no Kafka answer",
        ));
    }
    let mut frame = Vec::with_capacity(length.min(FRAME_STEP_BYTES));
    while frame.len() < length {
        let start = frame.len();
        frame.resize((start + FRAME_STEP_BYTES).min(length), 0);
        stream.read_exact(&mut frame[start..])?;
    }
    Ok(frame.into())
}

fn send(stream: &mut TcpStream, parts: &[Bytes]) -> io::Result<()> {
    let mut slices: Vec<IoSlice<'_>> = parts.iter().map(|part| IoSlice::new(part)).collect();
    let mut rest = slices.as_mut_slice();
    while !rest.is_empty() {
        match stream.write_vectored(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => IoSlice::advance_slices(&mut rest, written),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn describe(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it closed the connection".into(),
        io::ErrorKind::ConnectionRefused => "nothing listens there".into(),
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => "it does not answer".into(),
        _ => error.to_string(),
    }
}
