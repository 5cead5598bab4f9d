//! The demo's origin server: the thing on the other side of the gate. Plain HTTP with a few pages to try.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// Serves until dropped.
///
/// - `GET /` answers one line with the path that was asked for and the Host header;
/// - `GET /bytes/N` answers N bytes;
/// - `POST /` answers how many bytes came.
pub(super) async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(crate::ingress::BACK_OFF).await;
            continue;
        };
        tokio::spawn(async move {
            let serving = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service_fn(answer));
            // A client that goes away early is not the origin's trouble.
            let _ = serving.await;
        });
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Filler>, Infallible> {
    let path = request.uri().path().to_owned();
    if request.method() == hyper::Method::POST {
        let mut body = request.into_body();
        let mut received = 0_u64;
        while let Some(Ok(frame)) = body.frame().await {
            received += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        return Ok(text(StatusCode::OK, format!("received {received} bytes\n")));
    }
    if let Some(size) = path.strip_prefix("/bytes/") {
        return Ok(match size.parse() {
            Ok(left) => Response::new(Filler { first: None, left }),
            Err(_) => text(StatusCode::BAD_REQUEST, "write /bytes/N\n".to_owned()),
        });
    }
    let host = request.headers().get("host").and_then(|h| h.to_str().ok()).unwrap_or("-").to_owned();
    Ok(text(StatusCode::OK, format!("hello from the origin: {path} at {host}\n")))
}

fn text(status: StatusCode, text: String) -> Response<Filler> {
    let mut response = Response::new(Filler { first: Some(text.into()), left: 0 });
    *response.status_mut() = status;
    response
}

/// A body of known length: a text, or that many zero bytes.
struct Filler {
    first: Option<Bytes>,
    left: u64,
}

const ZEROS: Bytes = Bytes::from_static(&[0; 64 * 1024]);

impl Body for Filler {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(text) = self.first.take() {
            return Poll::Ready(Some(Ok(Frame::data(text))));
        }
        let next = usize::try_from(self.left).unwrap_or(usize::MAX).min(ZEROS.len());
        if next == 0 {
            return Poll::Ready(None);
        }
        self.left -= next as u64;
        Poll::Ready(Some(Ok(Frame::data(ZEROS.slice(..next)))))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left + self.first.as_ref().map_or(0, |text| text.len() as u64))
    }
}
