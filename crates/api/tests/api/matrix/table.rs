//! What each route takes, written down once more and by hand: not derived from the code under test.

/// What a caller must have for a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Need {
    /// Nothing.
    Nobody,
    /// To be signed in; the route is about the caller or shows only what they may see.
    SignedIn,
    /// To be signed in, and the thing is the caller's own: others' does not exist.
    OwnThing,
    /// A right in the project that the address names.
    Project(Right),
    /// A right in the whole system.
    System(Right),
    /// An account: the caller's own, or any for an Admin; others' does not exist.
    Account,
    /// An account, to be changed by an Admin, also one's own.
    AnyAccount,
}

/// One line of the table of rights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Right {
    View,
    Create,
    Deploy,
    Configure,
    Govern,
    Delete,
    Operate,
    Administer,
}

impl Right {
    /// Admin, Manager, Developer as Owner, as Member, as neither, Viewer.
    pub(super) fn columns(self) -> &'static str {
        match self {
            Self::View => "yyyy-y",
            Self::Create => "yyyyy-",
            Self::Deploy | Self::Configure => "yyyy--",
            Self::Govern | Self::Delete => "yyy---",
            Self::Operate => "yy----",
            Self::Administer => "y-----",
        }
    }
}

/// One route.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) method: &'static str,
    pub(super) path: &'static str,
    pub(super) need: Need,
    /// What those who may are answered, where it is not success.
    pub(super) answer: Option<u16>,
}

/// Every route. `#409` stands for the answer to those who may.
const TABLE: &str = "
GET    /health/live                                         nobody
GET    /health/ready                                        nobody
GET    /metrics                                             operate
GET    /api/openapi.json                                    nobody
GET    /api/docs                                            nobody
GET    /static/{version}/{name}                             nobody #404
GET    /login                                               nobody
POST   /login                                               nobody #401
GET    /login/code                                          nobody #303
POST   /login/code                                          nobody #303
GET    /login/oidc                                          nobody #404
GET    /login/oidc/callback                                 nobody #404
POST   /logout                                              signed-in
GET    /                                                    signed-in
GET    /projects/{project}                                  view
POST   /projects/{project}/deploy                           deploy
POST   /projects/{project}/ssh-key                          configure
POST   /projects/{project}/ssh-key/delete                   configure
POST   /projects/{project}/host-keys                        configure
POST   /projects/{project}/host-keys/delete                 configure #404
POST   /projects/{project}/lock                             govern
POST   /projects/{project}/unlock                           govern
POST   /projects/{project}/targets/{target}/lock            govern
POST   /projects/{project}/targets/{target}/unlock          govern
POST   /projects/{project}/subscriptions                    govern
POST   /projects/{project}/subscriptions/{id}               govern
POST   /projects/{project}/subscriptions/{id}/mute          govern
POST   /projects/{project}/subscriptions/{id}/delete        govern
GET    /projects/{project}/deliveries                       view
GET    /notifications                                       operate
GET    /notifications/providers/new                         administer #404
POST   /notifications/providers                             administer
GET    /notifications/providers/{id}                        administer
POST   /notifications/providers/{id}                        administer
POST   /notifications/providers/{id}/delete                 administer #409
GET    /notifications/channels/new                          operate
POST   /notifications/channels                              operate
GET    /notifications/channels/{id}                         operate
POST   /notifications/channels/{id}                         operate
POST   /notifications/channels/{id}/test                    operate
POST   /notifications/channels/{id}/delete                  operate #409
GET    /notifications/deliveries                            operate
POST   /notifications/deliveries/{id}/resend                govern #409
GET    /deployments                                         signed-in
GET    /deployments/{id}                                    view
GET    /deployments/{id}/fragment                           view
POST   /deployments/{id}/cancel                             deploy
POST   /deployments/{id}/retry                              deploy #409
GET    /queue                                               operate
GET    /queue/fragment                                      operate
POST   /queue/lock                                          administer
POST   /queue/unlock                                        administer
GET    /audit                                               operate
GET    /account                                             signed-in
POST   /account/name                                        signed-in
POST   /account/password                                    signed-in #422
POST   /account/tokens                                      signed-in
GET    /account/second-factor                               signed-in
POST   /account/second-factor                               signed-in #422
POST   /account/second-factor/confirm                       signed-in #409
POST   /account/second-factor/codes                         signed-in #409
POST   /account/second-factor/disable                       signed-in #409
POST   /account/tokens/{id}/revoke                          own
POST   /account/sessions/{id}/end                           own
GET    /users                                               administer
POST   /users                                               administer
POST   /users/{id}                                          any-account
POST   /users/{id}/password-link                            administer
POST   /users/{id}/remove-factor                            administer #409
GET    /password                                            nobody
POST   /password                                            nobody #422
GET    /forgot                                              nobody
POST   /forgot                                              nobody #409

POST   /api/v1/auth/login                                   nobody #401
POST   /api/v1/auth/second-factor                           nobody #401
GET    /api/v1/auth/provider                                nobody #404
POST   /api/v1/auth/forgot                                  nobody #409
POST   /api/v1/auth/password                                nobody #422
POST   /api/v1/auth/logout                                  signed-in
GET    /api/v1/me                                           signed-in
PATCH  /api/v1/me                                           signed-in
PUT    /api/v1/me/password                                  signed-in #422
GET    /api/v1/me/tokens                                    signed-in
POST   /api/v1/me/tokens                                    signed-in
DELETE /api/v1/me/tokens/{id}                               own
GET    /api/v1/me/sessions                                  signed-in
DELETE /api/v1/me/sessions/{id}                             own
GET    /api/v1/me/second-factor                             signed-in
POST   /api/v1/me/second-factor                             signed-in #422
POST   /api/v1/me/second-factor/confirm                     signed-in #409
POST   /api/v1/me/second-factor/recovery-codes              signed-in #409
POST   /api/v1/me/second-factor/disable                     signed-in #409
GET    /api/v1/users                                        administer
POST   /api/v1/users                                        administer
GET    /api/v1/users/{id}                                   account
PATCH  /api/v1/users/{id}                                   any-account
POST   /api/v1/users/{id}/password-link                     administer
DELETE /api/v1/users/{id}/second-factor                     administer #409
GET    /api/v1/users/{id}/tokens                            administer #409
POST   /api/v1/users/{id}/tokens                            administer #409
DELETE /api/v1/users/{id}/tokens/{token_id}                 administer #409
GET    /api/v1/projects                                     signed-in
POST   /api/v1/projects                                     create
GET    /api/v1/projects/{project}                           view
PATCH  /api/v1/projects/{project}                           configure
DELETE /api/v1/projects/{project}                           delete #409
GET    /api/v1/projects/{project}/pipeline                  view
PUT    /api/v1/projects/{project}/pipeline                  configure
GET    /api/v1/projects/{project}/members                   view
PUT    /api/v1/projects/{project}/members/{user_id}         govern
DELETE /api/v1/projects/{project}/members/{user_id}         govern
GET    /api/v1/projects/{project}/variables                 view
PUT    /api/v1/projects/{project}/variables/{name}          configure
DELETE /api/v1/projects/{project}/variables/{name}          configure
GET    /api/v1/projects/{project}/secrets                   view
PUT    /api/v1/projects/{project}/secrets/{name}            configure
DELETE /api/v1/projects/{project}/secrets/{name}            configure
GET    /api/v1/projects/{project}/secrets/{name}/versions   view
DELETE /api/v1/projects/{project}/secrets/{name}/versions/{version} configure #404
GET    /api/v1/projects/{project}/ssh-keys                  view
POST   /api/v1/projects/{project}/ssh-keys                  configure
DELETE /api/v1/projects/{project}/ssh-keys                  configure
GET    /api/v1/projects/{project}/host-keys                 view
POST   /api/v1/projects/{project}/host-keys                 configure
DELETE /api/v1/projects/{project}/host-keys/{id}            configure #404
GET    /api/v1/projects/{project}/targets                   view
POST   /api/v1/projects/{project}/targets                   configure
GET    /api/v1/projects/{project}/targets/{target}          view
PATCH  /api/v1/projects/{project}/targets/{target}          configure
DELETE /api/v1/projects/{project}/targets/{target}          configure #409
GET    /api/v1/projects/{project}/targets/{target}/releases view
GET    /api/v1/projects/{project}/targets/{target}/lock     view
PUT    /api/v1/projects/{project}/targets/{target}/lock     govern
DELETE /api/v1/projects/{project}/targets/{target}/lock     govern
GET    /api/v1/projects/{project}/lock                      view
PUT    /api/v1/projects/{project}/lock                      govern
DELETE /api/v1/projects/{project}/lock                      govern
POST   /api/v1/projects/{project}/deployments               deploy
GET    /api/v1/deployments                                  signed-in
GET    /api/v1/deployments/{id}                             view
GET    /api/v1/deployments/{id}/log                         view
GET    /api/v1/deployments/{id}/secrets                     view
GET    /api/v1/deployments/{id}/events                      view
POST   /api/v1/deployments/{id}/cancel                      deploy
POST   /api/v1/deployments/{id}/retry                       deploy #409
GET    /api/v1/lock                                         signed-in #404
PUT    /api/v1/lock                                         administer
DELETE /api/v1/lock                                         administer
GET    /api/v1/queue                                        operate
GET    /api/v1/workers                                      operate
GET    /api/v1/providers                                    administer
POST   /api/v1/providers                                    administer
GET    /api/v1/providers/kinds                              operate
GET    /api/v1/providers/choices                            operate
GET    /api/v1/providers/{id}                               administer
PATCH  /api/v1/providers/{id}                               administer
DELETE /api/v1/providers/{id}                               administer #409
GET    /api/v1/channels                                     operate
POST   /api/v1/channels                                     operate #422
GET    /api/v1/channels/{id}                                operate
PATCH  /api/v1/channels/{id}                                operate
DELETE /api/v1/channels/{id}                                operate #409
POST   /api/v1/channels/{id}/test                           operate
GET    /api/v1/projects/{project}/channels                  view
GET    /api/v1/projects/{project}/subscriptions             view
POST   /api/v1/projects/{project}/subscriptions             govern #422
GET    /api/v1/projects/{project}/subscriptions/{id}        view
PATCH  /api/v1/projects/{project}/subscriptions/{id}        govern
DELETE /api/v1/projects/{project}/subscriptions/{id}        govern
PUT    /api/v1/projects/{project}/subscriptions/{id}/mute   govern
DELETE /api/v1/projects/{project}/subscriptions/{id}/mute   govern
GET    /api/v1/deliveries                                   operate
GET    /api/v1/deliveries/{id}                              view
POST   /api/v1/deliveries/{id}/resend                       govern #409
GET    /api/v1/audit                                        operate
GET    /api/v1/audit/export                                 operate
";

pub(super) fn entries() -> Vec<Entry> {
    let lines = TABLE.lines().filter(|line| !line.trim().is_empty());
    lines.map(entry).collect()
}

fn entry(line: &'static str) -> Entry {
    let words: Vec<&'static str> = line.split_whitespace().collect();
    let need = match words[2] {
        "nobody" => Need::Nobody,
        "signed-in" => Need::SignedIn,
        "own" => Need::OwnThing,
        "account" => Need::Account,
        "any-account" => Need::AnyAccount,
        "view" => Need::Project(Right::View),
        "deploy" => Need::Project(Right::Deploy),
        "configure" => Need::Project(Right::Configure),
        "govern" => Need::Project(Right::Govern),
        "delete" => Need::Project(Right::Delete),
        "create" => Need::System(Right::Create),
        "operate" => Need::System(Right::Operate),
        "administer" => Need::System(Right::Administer),
        other => panic!("{other} is no need: {line}"),
    };
    let answer = words.get(3).map(|word| word[1..].parse().unwrap());
    Entry {
        method: words[0],
        path: words[1],
        need,
        answer,
    }
}

const HOST_KEY: &str = "example.com ssh-ed25519 \
    AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

/// What a route would accept, as JSON.
pub(super) fn body(method: &str, path: &str) -> serde_json::Value {
    use serde_json::json;
    match (method, path.strip_prefix("/api/v1").unwrap_or(path)) {
        ("POST", "/auth/login") => json!({ "email": "nobody@example.com", "password": "wrong" }),
        ("POST", "/auth/second-factor") => json!({ "challenge": "none", "code": "000000" }),
        ("POST", "/me/second-factor") => json!({ "password": "wrong" }),
        ("POST", "/me/second-factor/confirm") => json!({ "code": "000000" }),
        ("POST", path) if path.starts_with("/me/second-factor/") => {
            json!({ "password": "wrong", "code": "000000" })
        }
        ("POST", "/auth/forgot") => json!({ "email": "nobody@example.com" }),
        ("POST", "/auth/password") => json!({ "code": "none", "password": crate::app::PASSWORD }),
        ("PATCH", "/me") => json!({ "name": "Another" }),
        ("PUT", "/me/password") => json!({ "current": "", "password": crate::app::PASSWORD }),
        ("POST", "/me/tokens" | "/users/{id}/tokens") => json!({ "name": "another" }),
        ("POST", "/users") => json!({
            "email": format!("new-{}@example.com", crate::app::unique()),
            "name": "New", "role": "viewer", "password": crate::app::PASSWORD,
        }),
        ("PATCH", "/users/{id}") => json!({ "role": "developer" }),
        ("POST", "/projects") => json!({ "slug": format!("new-{}", crate::app::unique()) }),
        ("POST", "/providers") => json!({
            "name": format!("new-{}", crate::app::unique()),
            "kind": "ntfy", "settings": { "server": "https://ntfy.example" },
        }),
        ("POST", "/channels") => json!({ "provider": 0, "name": "none" }),
        ("POST", path) if path.ends_with("/subscriptions") => {
            json!({ "channels": [0], "events": ["failed"] })
        }
        ("PUT", path) if path.ends_with("/mute") => {
            json!({ "until": "2999-01-01T00:00:00Z", "reason": "stocktaking" })
        }
        ("PUT", path) if path.ends_with("/lock") => json!({ "reason": "stocktaking" }),
        ("PUT", path) if path.ends_with("/pipeline") => {
            json!({ "source": super::world::PIPELINE })
        }
        ("PUT", path) if path.contains("/members/") => json!({ "role": "member" }),
        ("PUT", _) => json!({ "value": "something" }),
        ("POST", path) if path.ends_with("/host-keys") => json!({ "lines": HOST_KEY }),
        ("POST", path) if path.ends_with("/targets") => {
            let slug = format!("t-{}", crate::app::unique());
            json!({ "slug": slug, "kind": "local", "path": "/srv/other" })
        }
        ("POST", path) if path.ends_with("/deployments") => json!({ "target": "live" }),
        _ => json!({}),
    }
}

/// What a page's form would accept.
pub(super) fn form(path: &str) -> Vec<(&'static str, String)> {
    let email = format!("form-{}@example.com", crate::app::unique());
    let name = format!("form {}", crate::app::unique());
    let fields = match path {
        "/login" => vec![("email", "nobody@example.com"), ("password", "wrong")],
        "/login/code" => vec![("code", "000000")],
        "/account/second-factor" => vec![("password", "wrong")],
        "/account/second-factor/confirm" => vec![("code", "000000")],
        path if path.starts_with("/account/second-factor/") => {
            vec![("password", "wrong"), ("code", "000000")]
        }
        "/password" => vec![("code", "none"), ("password", crate::app::PASSWORD)],
        "/forgot" => vec![("email", "nobody@example.com")],
        "/account/name" => vec![("name", "Another")],
        "/account/password" => vec![("current", "wrong"), ("password", crate::app::PASSWORD)],
        "/account/tokens" => vec![("name", "another"), ("scope", "read"), ("days", "90")],
        "/users" => vec![
            ("email", email.as_str()),
            ("name", "New"),
            ("role", "viewer"),
            ("kind", "person"),
        ],
        "/users/{id}" => vec![("to", "developer")],
        path if path.ends_with("/lock") => vec![("reason", "stocktaking"), ("hours", "4")],
        "/notifications/providers" => vec![
            ("kind", "webhook"),
            ("name", name.as_str()),
            ("field-url", "https://example.com/"),
            ("field-secret", "0123456789abcdef"),
        ],
        "/notifications/providers/{id}" => vec![
            ("name", name.as_str()),
            ("on", "on"),
            ("field-server", "https://ntfy.example"),
        ],
        "/notifications/channels" => vec![
            ("provider", "1"),
            ("name", name.as_str()),
            ("field-topic", "deployments"),
        ],
        "/notifications/channels/{id}" => vec![
            ("name", name.as_str()),
            ("on", "on"),
            ("field-topic", "deployments"),
        ],
        path if path.ends_with("/subscriptions") || path.ends_with("/subscriptions/{id}") => {
            vec![("channel-1", "on"), ("event-failed", "on")]
        }
        path if path.ends_with("/mute") => vec![("hours", "4"), ("reason", "stocktaking")],
        path if path.ends_with("/host-keys") => vec![("lines", HOST_KEY)],
        path if path.ends_with("/host-keys/delete") => vec![("id", "999999")],
        path if path.ends_with("/deploy") => vec![("target", "live")],
        _ => Vec::new(),
    };
    let owned = |(name, value): (&'static str, &str)| (name, value.to_owned());
    fields.into_iter().map(owned).collect()
}
