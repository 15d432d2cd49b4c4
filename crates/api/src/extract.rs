//! Bodies and lists in the shape that all JSON routes share.

use std::{future::Future, pin::Pin};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    http::StatusCode,
    web::{Bytes, BytesMut},
};
use futures_util::StreamExt as _;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use slipway_core::error::Error;

use crate::{error::Problem, seal::Seal};

/// Most bytes of a body.
pub const BODY_BYTES_MAX: usize = 512 * 1024;
/// Items of a list unless the request says otherwise.
const PAGE: u64 = 50;
/// Most items of a list.
const PAGE_MAX: u64 = 200;

/// A JSON body; unknown fields and wrong types are told with their path.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + 'static> FromRequest for Body<T> {
    type Error = Problem;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Problem>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let kind = request.content_type().to_ascii_lowercase();
        let mut payload = payload.take();
        Box::pin(async move {
            if kind != "application/json" {
                let detail = "send the body as application/json";
                let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
                return Err(Problem::request(status, "unsupported_media_type", detail));
            }
            parse(&read(&mut payload).await?).map(Self)
        })
    }
}

/// The whole body, if it is not too long.
///
/// # Errors
/// It is too long, or the client went away.
pub async fn read(payload: &mut Payload) -> Result<Bytes, Problem> {
    let mut body = BytesMut::new();
    while let Some(chunk) = payload.next().await {
        let chunk = chunk.map_err(|error| Problem::malformed(error.to_string()))?;
        if body.len() + chunk.len() > BODY_BYTES_MAX {
            let detail = format!("a body may have at most {BODY_BYTES_MAX} bytes");
            let status = StatusCode::PAYLOAD_TOO_LARGE;
            return Err(Problem::request(status, "body_too_large", detail));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// Reads JSON into a type.
///
/// # Errors
/// The text is not JSON, or not of this shape.
pub fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // serde would take the fields of a list in order, which no client should rely on.
    if body.trim_ascii_start().first() == Some(&b'[') {
        return Err(Error::invalid("body", "must be an object").into());
    }
    let mut reader = serde_json::Deserializer::from_slice(body);
    let value = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let inner = error.into_inner();
        if inner.is_data() {
            let path = if path == "." { "body".to_owned() } else { path };
            Problem::from(Error::invalid(path, inner.to_string()))
        } else {
            Problem::malformed(format!("the body is not JSON: {inner}"))
        }
    })?;
    reader
        .end()
        .map_err(|error| Problem::malformed(format!("the body is not JSON: {error}")))?;
    Ok(value)
}

/// The part of a list that is asked for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// How many items, at most 200; 50 otherwise.
    pub limit: Option<u64>,
    /// `next_cursor` of the page before.
    pub cursor: Option<String>,
}

/// Reads how many items are asked for.
///
/// # Errors
/// [`Error::Invalid`] when it is not between 1 and 200.
pub fn limit(wanted: Option<u64>) -> Result<u64, Error> {
    match wanted.unwrap_or(PAGE) {
        limit @ 1..=PAGE_MAX => Ok(limit),
        _ => Err(Error::invalid("limit", format!("must be 1 to {PAGE_MAX}"))),
    }
}

/// A page of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
pub struct List<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where to go on; null at the end.
    pub next_cursor: Option<String>,
}

impl<T> List<T> {
    /// A list that fits on one page.
    #[must_use]
    pub fn whole(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }

    /// One page of `rows`, which were read with one more than `limit`.
    pub fn page<R>(
        mut rows: Vec<R>,
        limit: u64,
        cursor: (&Seal, &str, impl Fn(&R) -> i64),
        view: impl Fn(R) -> T,
    ) -> Self {
        let (seal, list, id) = cursor;
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let is_more = rows.len() > limit;
        rows.truncate(limit);
        let last = rows.last().filter(|_| is_more);
        let next_cursor = last.map(|row| seal.cursor(list, id(row)));
        Self {
            items: rows.into_iter().map(view).collect(),
            next_cursor,
        }
    }
}
