//! What surrounds every page: the bar with its links, and who is signed in.

use actix_web::{HttpResponse, HttpResponseBuilder};
use askama::Template;
use slipway_core::access::{Permission, SystemRole};

use super::visitor::Visitor;
use crate::error::Problem;

/// The part of the site that a page belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Projects,
    Deployments,
    Queue,
    Audit,
    Notifications,
    Users,
    Account,
    Elsewhere,
}

/// What the layout needs from every page.
#[derive(Debug)]
pub(super) struct Frame {
    section: Section,
    pub(super) who: Option<Who>,
}

/// Who is signed in, as the bar shows it.
#[derive(Debug)]
pub(super) struct Who {
    pub(super) name: String,
    pub(super) role: &'static str,
    /// Whether the queue is theirs to see.
    pub(super) may_operate: bool,
    /// Whether channels are theirs to set up.
    pub(super) may_notify: bool,
    /// Whether the accounts are theirs to look after.
    pub(super) may_administer: bool,
    /// Proves that a form is of this sign-in.
    pub(super) token: String,
}

impl Frame {
    /// The frame of a page for somebody who is signed in.
    pub(super) fn of(visitor: &Visitor, section: Section) -> Self {
        Self {
            section,
            who: Some(Who {
                name: visitor.actor.name.clone(),
                role: role(visitor.actor.role),
                may_operate: visitor.actor.may(Permission::Observe, None),
                may_notify: visitor.actor.may(Permission::Operate, None),
                may_administer: visitor.actor.may(Permission::Administer, None),
                token: visitor.token.clone(),
            }),
        }
    }

    /// The frame of a page for anybody.
    pub(super) fn public() -> Self {
        Self {
            section: Section::Elsewhere,
            who: None,
        }
    }

    fn is_in(&self, section: Section) -> bool {
        self.section == section
    }

    /// Whether the link to the projects is the current one.
    pub(super) fn in_projects(&self) -> bool {
        self.is_in(Section::Projects)
    }

    /// Whether the link to the deployments is the current one.
    pub(super) fn in_deployments(&self) -> bool {
        self.is_in(Section::Deployments)
    }

    /// Whether the link to the queue is the current one.
    pub(super) fn in_queue(&self) -> bool {
        self.is_in(Section::Queue)
    }

    /// Whether the link to the accounts is the current one.
    pub(super) fn in_users(&self) -> bool {
        self.is_in(Section::Users)
    }

    /// Whether the link to one's own account is the current one.
    pub(super) fn in_account(&self) -> bool {
        self.is_in(Section::Account)
    }

    /// Whether the link to the notifications is the current one.
    pub(super) fn in_notifications(&self) -> bool {
        self.is_in(Section::Notifications)
    }

    /// Whether the link to the audit trail is the current one.
    pub(super) fn in_audit(&self) -> bool {
        self.is_in(Section::Audit)
    }

    /// The token for a form; a page for nobody has no form that needs one.
    pub(super) fn token(&self) -> &str {
        self.who.as_ref().map_or("", |who| &who.token)
    }
}

fn role(role: SystemRole) -> &'static str {
    match role {
        SystemRole::Admin => "Admin",
        SystemRole::Manager => "Manager",
        SystemRole::Developer => "Developer",
        SystemRole::Viewer => "Viewer",
    }
}

/// Answers with a page.
pub(super) fn html(
    mut builder: HttpResponseBuilder,
    template: &impl Template,
) -> Result<HttpResponse, Problem> {
    let body = template
        .render()
        .map_err(|error| slipway_core::db::broken(format!("rendering a page: {error}")))?;
    Ok(builder.content_type("text/html; charset=utf-8").body(body))
}

/// Sends a browser on after a form.
pub(super) fn see_other(location: impl Into<String>) -> HttpResponse {
    HttpResponse::SeeOther()
        .insert_header(("Location", location.into()))
        .finish()
}
