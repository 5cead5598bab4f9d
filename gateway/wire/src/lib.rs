//! Codecs of the protocols that the gate speaks to apps: bytes and header maps in, typed requests and ready replies
//! out. No socket, clock or file is touched here; the service's ingress modules feed these and act on what they say.
//!
//! Telephone numbers and tones ([`telephone`]) are read here too, and what is said to a modem about contexts ([`pdp`]).
//!
//! Whether a request is *allowed* is never decided here, only whether it is well formed and what it asks for. A host is
//! handed on as the app wrote it ([`RawHost`]); `mexe-policy::name` makes a host of it.
//!
//! A SOCKS5 handshake that arrives in one piece, credentials and first data included:
//!
//! ```
//! use bytes::BytesMut;
//! use mexe_wire::socks5::{self, Command, Parser, Step, client};
//! use mexe_wire::{RawHost, Target};
//!
//! let target = Target { host: RawHost::Name("example.org".into()), port: 443 };
//! let mut input = BytesMut::new();
//! input.extend_from_slice(&client::greeting());
//! input.extend_from_slice(&client::credentials("weather", "secret")?);
//! input.extend_from_slice(&client::request(Command::Connect, &target)?);
//! input.extend_from_slice(b"early data");
//!
//! let mut parser = Parser::new();
//! let Step::Greeting(greeting) = parser.on_bytes(&mut input)? else { panic!("no greeting") };
//! assert_eq!(greeting.answer(), [5, 2]);
//! let Step::Credentials(credentials) = parser.on_bytes(&mut input)? else { panic!("no credentials") };
//! assert_eq!(credentials.user(), Some("weather"));
//! let Step::Request(request) = parser.on_bytes(&mut input)? else { panic!("no request") };
//! assert_eq!((request.command, request.target), (Command::Connect, target));
//! assert_eq!(&input[..], b"early data");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

pub mod basic;
mod credentials;
pub mod forward;
mod host;
pub mod pdp;
pub mod priority;
pub mod proxy_status;
pub mod socks5;
pub mod telephone;

pub use credentials::Credentials;
pub use host::{RawHost, Target, TargetError};
