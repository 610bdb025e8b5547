//! `Idempotency-Key` on calls that are no messages: each is made once. What a call leaves in the
//! journal has its key there too, where it outlives the process.
use axum::body::Body;
use axum::extract::State;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use backstay_kernel::id::Digest;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Request, StatusCode};
use tokio::sync::watch;

use crate::answers::{Answer, Turn};
use crate::auth::asker_of;
use crate::door::Door;
use crate::error::Problem;
use crate::input::{Keyed, Whole};
use crate::limits::ANSWER_BYTES_MAX;

/// The layer of one call; inside the one that authenticates.
pub async fn once(State(door): State<Door>, request: Request<Body>, next: Next) -> Response {
    let Some(asker) = asker_of(&request) else { return next.run(request).await };
    let key = match Keyed::of(request.headers()).map(Keyed::text) {
        Ok(Some(key)) => key,
        Ok(None) => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    let digest = digest_of(&request);
    let name = (asker, key);
    let mut carried = Some((request, next));
    loop {
        match door.answers.take(&name, digest, door.engine.now()) {
            Turn::Another => return Problem::from(backstay_engine::EngineError::KeyReused).into_response(),
            Turn::Later(mut outcome) => {
                if let Ok(Some(answer)) = outcome.wait_for(Option::is_some).await.map(|found| found.clone()) {
                    return replay(answer);
                }
                // The first has failed in a way that says nothing: be the first.
            }
            Turn::First(sender) => {
                let Some((request, next)) = carried.take() else {
                    return Problem::internal(&"a request ran twice").into_response();
                };
                return run(request, next, sender).await;
            }
        }
    }
}

/// On a task of its own: a caller that hangs up does not stop it half-way.
async fn run(request: Request<Body>, next: Next, sender: watch::Sender<Option<Answer>>) -> Response {
    let done = tokio::spawn(async move {
        let response = next.run(request).await;
        let (parts, body) = response.into_parts();
        let Ok(bytes) = axum::body::to_bytes(body, ANSWER_BYTES_MAX).await else {
            return Problem::internal(&"an answer is too long to be kept").into_response();
        };
        let passing = parts.status.is_server_error() || parts.status == StatusCode::TOO_MANY_REQUESTS;
        if !passing {
            let answer = Answer { status: parts.status, body: bytes.clone() };
            sender.send_replace(Some(answer));
        }
        Response::from_parts(parts, Body::from(bytes))
    });
    done.await.unwrap_or_else(|error| Problem::internal(&error).into_response())
}

fn replay(answer: Answer) -> Response {
    let mut response = Response::new(Body::from(answer.body));
    *response.status_mut() = answer.status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn digest_of(request: &Request<Body>) -> Digest {
    let body = request.extensions().get::<Whole>().map(|whole| whole.0.clone()).unwrap_or_default();
    let path = request.uri().path_and_query().map_or("", |path| path.as_str());
    Digest::of("backstay call v1", &[path.as_bytes(), &body])
}
