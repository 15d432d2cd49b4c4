//! Whatever strangers wrote, each service's limits hold, nobody is mentioned and nothing is formatted.

use chrono::DateTime;
use proptest::prelude::*;
use serde_json::Value;
use slipway_core::{
    id::DeploymentId,
    notify::{
        Event, Notice,
        notice::{Facts, Failure},
    },
};

use super::{bytes, discord, mattermost, ntfy, slack, smtp, teams, telegram};
use crate::story::Story;

/// Text that tries to be something else, short or far too long.
fn text() -> impl Strategy<Value = String> {
    let piece = prop::sample::select(vec![
        "@everyone",
        "@here",
        "<!channel>",
        "<@U123>",
        "<@&1>",
        "<!here|here>",
        "@channel",
        "@all",
        "```",
        "`",
        "**",
        "__",
        "~~",
        "||",
        "[x](https://evil.example)",
        "<https://evil.example|x>",
        "</b>",
        "</pre>",
        "<script>",
        "\"'",
        "&amp;",
        "&",
        "<",
        ">",
        "\\",
        "{{DATE(x)}}",
        "<at>a</at>",
        "\r\n",
        "\u{202e}",
        "\u{2066}",
        "\u{0}",
        "\u{1b}[31m",
        "é",
        "😀",
        "👩\u{200d}🚀",
        "a",
        " ",
        "# x",
        "- x",
        "> x",
        ":smile:",
        "<#1>",
        "<t:1>",
        "~x",
        "$x$",
        "%s",
    ]);
    let short = prop::collection::vec(piece.clone(), 0..8);
    let long = prop::collection::vec(piece, 300..1_500);
    prop_oneof![4 => short, 1 => long].prop_map(|pieces| pieces.concat())
}

fn failure() -> impl Strategy<Value = Failure> {
    let lines = prop::collection::vec(text(), 0..70);
    (text(), prop::option::of(text()), lines).prop_map(|(sentence, step, lines)| Failure {
        code: "step_failed".to_owned(),
        sentence,
        step,
        lines,
    })
}

fn facts() -> impl Strategy<Value = Facts> {
    let some = || prop::option::of(text());
    (some(), some(), some(), some(), text(), some()).prop_map(
        |(reference, commit, subject, author, requested_by, note)| Facts {
            id: DeploymentId(1),
            reference,
            commit,
            subject,
            author,
            requested_by,
            note,
            attempt: 2,
            duration_ms: Some(1_000),
        },
    )
}

fn story() -> impl Strategy<Value = Story> {
    let some = || prop::option::of(text());
    let urls = [
        "https://slipway.example/deployments/1?a=1&b=2",
        "http://localhost:3000/x",
        "javascript:alert(1)",
    ];
    let url = prop::option::of(prop::sample::select(urls.to_vec()));
    let event = prop::sample::select(Event::ALL.to_vec());
    let about = (prop::option::of(facts()), prop::option::of(failure()), url);
    (event, some(), some(), some(), some(), about).prop_map(
        |(event, project, target, actor, text, (deployment, failure, url))| {
            Story::of(&Notice {
                event,
                at: DateTime::UNIX_EPOCH,
                project,
                target,
                actor,
                text,
                deployment,
                failure,
                url: url.map(str::to_owned),
                folded: 3,
            })
        },
    )
}

fn utf16(text: &str) -> usize {
    text.encode_utf16().count()
}

/// Every text in a document.
fn texts(value: &Value) -> Vec<&str> {
    match value {
        Value::String(text) => vec![text],
        Value::Array(items) => items.iter().flat_map(texts).collect(),
        Value::Object(entries) => entries.values().flat_map(texts).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => Vec::new(),
    }
}

/// The text outside fences and code, which all end, without what a backslash stands before.
fn outside_code(text: &str) -> String {
    let (mut rest, mut out, mut ends_with) = (text, String::new(), None);
    while let Some(c) = rest.chars().next() {
        let fence = ["```", "`"]
            .into_iter()
            .find(|fence| rest.starts_with(fence));
        match (ends_with, fence) {
            (None, None) if c == '\\' => {
                let escaped = rest.chars().nth(1).map_or(0, char::len_utf8);
                rest = rest.get(1 + escaped..).unwrap_or_default();
                continue;
            }
            (None, None) => out.push(c),
            (None, Some(_)) => ends_with = fence,
            (Some(end), Some(found)) if end == found => ends_with = None,
            (Some(_), _) => {}
        }
        rest = rest
            .get(fence.map_or(c.len_utf8(), str::len)..)
            .unwrap_or_default();
    }
    assert_eq!(ends_with, None, "code does not end: {text}");
    out
}

/// Whether one of these characters means something there.
fn has_bare(text: &str, special: &str) -> bool {
    outside_code(text).contains(|c| special.contains(c))
}

fn nothing_hidden(document: &Value) {
    for text in texts(document) {
        let bad = |c: char| {
            c.is_control() && c != '\n'
                || ('\u{202a}'..='\u{202e}').contains(&c)
                || ('\u{2066}'..='\u{2069}').contains(&c)
        };
        assert!(!text.contains(bad), "{text:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn discord_stands_it(story in story()) {
        let document = discord::document(&story);
        nothing_hidden(&document);
        let embed = &document["embeds"][0];
        let fields = embed["fields"].as_array().unwrap();
        let all = ["title", "description"].iter().map(|name| utf16(embed[*name].as_str().unwrap()));
        let in_fields = fields.iter().map(|field| {
            let (name, value) = (field["name"].as_str().unwrap(), field["value"].as_str().unwrap());
            assert!(utf16(name) <= 256 && utf16(value) <= 1_024 && !value.is_empty());
            assert!(!has_bare(value, "*_~|[]()<:"), "{value}");
            utf16(name) + utf16(value)
        });
        prop_assert!(all.sum::<usize>() + in_fields.sum::<usize>() + 7 <= 6_000);
        prop_assert!(fields.len() <= 25);
        prop_assert!(utf16(embed["title"].as_str().unwrap()) <= 256);
        let description = embed["description"].as_str().unwrap();
        prop_assert!(utf16(description) <= 4_096);
        // The caption of the log is bold.
        let outside = outside_code(description);
        prop_assert!(outside.matches("**").count() <= 2);
        let formatted = outside.replace("**", "").contains(|c| "*_~|[]()<".contains(c));
        prop_assert!(!formatted, "{outside}");
        prop_assert!(!texts(&document).iter().any(|text| outside_code(text).contains("@everyone")));
        prop_assert_eq!(&document["allowed_mentions"]["parse"], &serde_json::json!([]));
    }

    #[test]
    fn slack_stands_it(story in story()) {
        let document = slack::document(&story);
        nothing_hidden(&document);
        let blocks = document["attachments"][0]["blocks"].as_array().unwrap();
        prop_assert!(blocks.len() <= 50);
        for block in blocks {
            let one = block.get("text").into_iter();
            let more = ["fields", "elements"].iter().filter_map(|name| block.get(*name)?.as_array());
            let more: Vec<_> = more.flatten().collect();
            prop_assert!(more.len() <= 10);
            for text in one.chain(more) {
                let said = text["text"].as_str().unwrap();
                let most = if block.get("fields").is_some() { 2_000 } else { 3_000 };
                prop_assert!(utf16(said) <= most);
                prop_assert!(!said.is_empty());
                if text["type"] == "mrkdwn" {
                    prop_assert!(!said.contains("<!") && !said.contains("<@") && !said.contains("<#"));
                    prop_assert_eq!(&text["verbatim"], &serde_json::json!(true));
                    outside_code(said);
                }
            }
        }
        let text = document["text"].as_str().unwrap();
        prop_assert!(utf16(text) <= 3_000 && !text.contains('<') && !text.contains('>'));
    }

    #[test]
    fn telegram_stands_it(story in story()) {
        let message = telegram::message(&story);
        nothing_hidden(&Value::String(message.clone()));
        let tags = ["b", "code", "pre", "a"];
        let mut seen = message.clone();
        for tag in tags {
            let (open, close) = (format!("<{tag}>"), format!("</{tag}>"));
            let opened = seen.matches(&open).count() + seen.matches(&format!("<{tag} href=\"")).count();
            prop_assert_eq!(opened, seen.matches(&close).count());
            seen = seen.replace(&open, "").replace(&close, "");
        }
        if let Some(link) = &story.link {
            seen = seen.replace(&format!("<a href=\"{}\">", link.url.replace('&', "&amp;")), "");
        }
        prop_assert!(!seen.contains('<') && !seen.contains('>'), "{seen}");
        for (entity, c) in [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&amp;", "")] {
            seen = seen.replace(entity, c);
        }
        prop_assert!(!seen.contains('&'), "{seen}");
        prop_assert!(utf16(&seen) <= 4_096, "{}", utf16(&seen));
        let mentions = seen.replace("@\u{200b}", "").contains('@');
        prop_assert!(!mentions);
    }

    #[test]
    fn teams_stands_it(story in story()) {
        let document = teams::document(&story);
        nothing_hidden(&document);
        prop_assert!(bytes(&document).len() <= 28 * 1_024);
        let special = |text: &&str| text.contains("{{") || text.contains("<at>");
        prop_assert!(!texts(&document).iter().any(special));
        prop_assert!(!document.to_string().contains("\"TextBlock\""));
        prop_assert!(!texts(&document).contains(&""));
    }

    #[test]
    fn mattermost_stands_it(story in story()) {
        let document = mattermost::document(&story);
        nothing_hidden(&document);
        let all = texts(&document);
        prop_assert!(all.iter().map(|text| text.chars().count()).sum::<usize>() <= 16_383);
        for text in all {
            prop_assert!(!text.contains("<!"), "{text}");
            let outside = outside_code(text);
            let mentions = outside.replace("@\u{200b}", "").contains('@');
            prop_assert!(!mentions, "{outside}");
        }
        for field in document["attachments"][0]["fields"].as_array().unwrap() {
            let value = field["value"].as_str().unwrap();
            prop_assert!(!has_bare(value, "*_[]()~|#>"), "{value}");
        }
    }

    #[test]
    fn ntfy_stands_it(story in story()) {
        let document = ntfy::document(&story);
        nothing_hidden(&document);
        prop_assert!(bytes(&document).len() <= 8_000);
        prop_assert!(document["message"].as_str().unwrap().len() <= 4_096);
        prop_assert!(document["title"].as_str().unwrap().len() <= 250);
    }

    #[test]
    fn mail_stands_it(story in story()) {
        let page = smtp::html_page(&story);
        nothing_hidden(&Value::String(page.clone()));
        nothing_hidden(&Value::String(smtp::plain(&story)));
        let known = [
            "!DOCTYPE html", "html", "head", "meta", "title", "body", "h2", "p", "table", "tr", "th", "td",
            "code", "span", "b", "pre", "a",
        ];
        for tag in page.split('<').skip(1) {
            let name = tag.trim_start_matches('/').split([' ', '>']).next().unwrap();
            prop_assert!(name == "!DOCTYPE" || known.contains(&name), "{name}");
        }
        prop_assert!(!page.contains("javascript:"));
    }
}
