//! The serial port of a modem (feature `modem`).

use std::time::Duration;

use tokio_serial::{SerialPortBuilderExt, SerialStream};

use crate::Fault;

/// Opens a serial port for a modem: 8 data bits, no parity, one stop bit, no flow control.
///
/// # Errors
/// There is no such port, or it may not be opened.
pub fn open(path: &str, baud: u32) -> Result<SerialStream, Fault> {
    tokio_serial::new(path, baud)
        .timeout(Duration::from_secs(1))
        .open_native_async()
        .map_err(|error| Fault::ModemGone(error.into()))
}
