//! The one server behind every proxy that is measured: echo, source and sink on one port, one thread. The first byte of
//! a connection says which: `E` echoes everything, that byte included; `D` and a count sends that many bytes; `U` and a
//! count reads that many and answers with one. Counts are 8 bytes, big-endian. Prints its address and serves until killed.

use std::io::Write as _;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        println!("{}", listener.local_addr()?);
        std::io::stdout().flush()?;
        loop {
            match listener.accept().await {
                // A client that goes away is part of the measurement.
                Ok((stream, _)) => drop(tokio::spawn(async { serve(stream).await.ok() })),
                Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
            }
        }
    })
}

async fn serve(mut stream: TcpStream) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut first = [0; 1];
    stream.read_exact(&mut first).await?;
    match first {
        [b'D'] => send(&mut stream).await,
        [b'U'] => receive(&mut stream).await,
        _ => echo(&mut stream, first[0]).await,
    }
}

async fn send(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut left = stream.read_u64().await?;
    let block = vec![b'x'; 256 * 1024];
    while left > 0 {
        let most = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        stream.write_all(&block[..most]).await?;
        left -= most as u64;
    }
    Ok(())
}

async fn receive(stream: &mut TcpStream) -> std::io::Result<()> {
    let mut left = stream.read_u64().await?;
    let mut block = vec![0; 256 * 1024];
    while left > 0 {
        match stream.read(&mut block).await? {
            0 => return Ok(()),
            n => left = left.saturating_sub(n as u64),
        }
    }
    stream.write_all(b".").await
}

async fn echo(stream: &mut TcpStream, first: u8) -> std::io::Result<()> {
    let mut block = [0; 1024];
    block[0] = first;
    let mut n = 1 + stream.read(&mut block[1..]).await?;
    while n > 0 {
        stream.write_all(&block[..n]).await?;
        n = stream.read(&mut block).await?;
    }
    Ok(())
}
