//! The table of pages: what is registered here is listed too, so that a test can go through all of
//! them. Nothing else registers a page.

use actix_web::{
    FromRequest, Handler, Responder,
    web::{self, ServiceConfig},
};

/// Registers pages and remembers them.
pub(super) struct Pages<'a> {
    service: &'a mut ServiceConfig,
    listed: Vec<(&'static str, &'static str)>,
}

impl<'a> Pages<'a> {
    pub(super) fn new(service: &'a mut ServiceConfig) -> Self {
        Self {
            service,
            listed: Vec::new(),
        }
    }

    /// A page to look at.
    pub(super) fn get<F, Args>(&mut self, path: &'static str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.service.route(path, web::get().to(handler));
        self.listed.push(("GET", path));
        self
    }

    /// A form that is sent.
    pub(super) fn post<F, Args>(&mut self, path: &'static str, handler: F) -> &mut Self
    where
        F: Handler<Args>,
        Args: FromRequest + 'static,
        F::Output: Responder + 'static,
    {
        self.service.route(path, web::post().to(handler));
        self.listed.push(("POST", path));
        self
    }

    /// Method and path of every page.
    pub(super) fn listed(self) -> Vec<(&'static str, &'static str)> {
        self.listed
    }
}
