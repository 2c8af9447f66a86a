//! A connection that asks one question at a time, over a plain socket.
//!
//! Always: an answer that is missing or nonsense is a sentence that names the broker and the question.

use bytes::Bytes;
use millstream_net::wire::{Call, Request, Str, decode_response, encode_request};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

/// BOUND: no answer to these questions is longer.
const ANSWER_BYTES_MAX: usize = 256 << 20;
/// Answers may take so long, where nobody says otherwise: a topic is made in some seconds.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that asks one thing at a time.
pub struct Asker {
    pub address: SocketAddr,
    stream: TcpStream,
}

impl Asker {
    pub fn connect(address: SocketAddr, timeout: Duration) -> io::Result<Asker> {
        Asker::patient(address, timeout, timeout.max(PATIENCE))
    }

    /// The same, with a time for each answer.
    pub fn patient(
        address: SocketAddr,
        timeout: Duration,
        patience: Duration,
    ) -> io::Result<Asker> {
        let stream = TcpStream::connect_timeout(&address, timeout)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        Ok(Asker { address, stream })
    }

    pub fn ask<C: Call>(&mut self, version: i16, call: C) -> Result<C::Response, String> {
        let name = C::KEY.api().name;
        let address = self.address;
        let request: Request = call.into();
        let client = Str::from("millstream-bench");
        let frame = encode_request(version, 1, Some(&client), &request).concat();
        let answer = self
            .exchange(&frame)
            .map_err(|error| match error.kind() {
                io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => format!(
                    "the broker at {address} closes the connection at the question {name}: does it want TLS or a password? \
                     This generator speaks neither"
                ),
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                    format!("the broker at {address} does not answer {name}")
                }
                _ => format!("the broker at {address}, asked {name}: {error}"),
            })?;
        let nonsense = || {
            format!(
                "the answer of the broker at {address} to {name} cannot be read: is it a Kafka broker?"
            )
        };
        let (_, response) =
            decode_response(C::KEY, version, &Bytes::from(answer)).map_err(|_| nonsense())?;
        C::response(response).ok_or_else(nonsense)
    }

    fn exchange(&mut self, frame: &[u8]) -> io::Result<Vec<u8>> {
        self.stream.write_all(frame)?;
        let mut length = [0; 4];
        self.stream.read_exact(&mut length)?;
        let length = u32::from_be_bytes(length) as usize;
        if !(4..=ANSWER_BYTES_MAX).contains(&length) {
            return Err(io::Error::other(format!(
                "it sends a frame of {length} bytes, which is none of Kafka's protocol"
            )));
        }
        let mut answer = Vec::new();
        let read = (&mut self.stream)
            .take(length as u64)
            .read_to_end(&mut answer)?;
        if read < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        Ok(answer)
    }
}

/// Connects to the first address of a name that takes it.
pub fn reach(broker: &str, timeout: Duration) -> Result<Asker, String> {
    reach_patiently(broker, timeout, timeout.max(PATIENCE))
}

/// The same, with a time for each answer.
pub fn reach_patiently(
    broker: &str,
    timeout: Duration,
    patience: Duration,
) -> Result<Asker, String> {
    let addresses = broker
        .to_socket_addrs()
        .map_err(|error| format!("`{broker}` is no address of a broker (HOST:PORT): {error}"))?;
    let mut problem = format!("`{broker}` has no address");
    for address in addresses {
        match Asker::patient(address, timeout, patience) {
            Ok(asker) => return Ok(asker),
            Err(error) => problem = format!("no broker at {broker}: {error}"),
        }
    }
    Err(problem)
}
