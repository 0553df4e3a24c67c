use super::*;
use crate::Credential;
use proptest::prelude::*;

fn artifact() -> Artifact {
    Artifact::parse(r#"{"apiId":"u-1","name":"TokenApi","version":"1.0"}"#).unwrap()
}

/// The definition as it is shown.
fn shown(definition: &str) -> String {
    let artifact = Artifact {
        api_definition: Some(definition.to_owned()),
        ..artifact()
    };
    artifact.masked().api_definition.unwrap()
}

#[test]
fn what_is_no_secret_stays() {
    let definition = "<api xmlns=\"http://ws.apache.org/ns/synapse\" name=\"Pizza\" context=\"/pizza\">\
        <resource methods=\"GET\" uri-template=\"/a?b={uri.var.b}&amp;c=1\"><inSequence>\
        <property name=\"a\" value=\"b &lt; c\" scope=\"axis2\"/>\
        <send><endpoint key=\"e\"/></send></inSequence></resource></api>";
    assert_eq!(shown(definition), definition);
    let artifact = artifact();
    assert_eq!(artifact.masked(), artifact, "its name is no secret");
}

#[test]
fn what_is_a_secret_goes() {
    for definition in [
        "<property name=\"Authorization\" value=\"hunter22\"/>",
        "<property value=\"hunter22\" name='authorization'/>",
        "<property name=\"Authorization\" expression=\"fn:concat('Basic ', base64Encode('a:hunter22'))\"/>",
        "<property name=\"p\" expression=\"fn:concat('Basic ', 'hunter22')\"/>",
        "<property name=\"Pass&#119;ord\" value=\"hunter22\"/>",
        "<header name=\"X-API-Key\" value=\"hunter22\"/>",
        "<header name=\"wsse:Security\"><a><b c=\"hunter22\">hunter22</b></a></header>",
        "<a userPassword=\"hunter22\"/>",
        "<a x:password=\"hunter22\" xmlns:x=\"u\"/>",
        "<x:Password xmlns:x='u' Type='t'>hunter22</x:Password>",
        "<password>hun<!-- x -->ter<![CDATA[22]]>hunter22</password>",
        "<password><![CDATA[hunter22]]></password>",
        "<a><!-- hunter22 --><?pi hunter22?></a>",
        "<a><name>password</name><value>hunter22</value></a>",
        "<a><name>Author&#105;zation</name><b><c v='hunter22'/></b></a>",
        "<format>{\"pass&#119;ord\": \"hunter22\"}</format>",
        "<format><![CDATA[{\"access_token\": \"hunter22\"}]]></format>",
        "<http uri-template=\"http://user:hunter22@host/x\"/>",
        "<address uri=\"https://u:p@hunter22@host/x\"/>",
        "<a>see http://h/x and http://user:hunter22@host/x</a>",
        "<http uri-template=\"http://host/x?apikey=hunter22\"/>",
        "<http uri-template=\"https://h/x?a=1&amp;subscription-key=hunter22&amp;b=2\"/>",
        "<http uri-template=\"https://u:p@h/x?code=hunter22\"/>",
        "<address uri=\"https://h/x?sv=1&amp;sig=hunter22\"/>",
        "<a>see https://h/x?key=hunter22 and more</a>",
        "<entry key=\"clientSecret\">hunter22</entry>",
        "<parameter name=\"keystorePassword\">hunter22</parameter>",
        "<!DOCTYPE a [<!ENTITY x \"hunter22\">]><a>&x;</a>",
        "<a>hunter22",
        "hunter22 password",
        "password: hunter22",
    ] {
        let shown = shown(definition);
        assert!(!shown.contains("hunter22"), "{definition} -> {shown}");
    }
    let shown = shown("<http uri-template=\"http://user:pw@host/x\"/>");
    assert_eq!(shown, "<http uri-template=\"http://********@host/x\"/>");
    let shown = self::shown("<http uri-template=\"https://h/x?a=1&amp;sig=s&amp;b=2\"/>");
    let masked = "<http uri-template=\"https://h/x?a=1&amp;sig=********&amp;b=2\"/>";
    assert_eq!(shown, masked);
}

#[test]
fn credentials_certificates_and_other_members_go() {
    let content = |name: &str, content: &str| Content {
        name: name.into(),
        content: content.into(),
    };
    let text = r#"{"apiId":"u","name":"N","version":"1","vhosts":["http://a:hunter22@h"],
        "endpointSecurity":{"x":["hunter22"]},"additional":[{"name":"password","value":"hunter22"}],
        "config":{"a":{"clientSecret":"hunter22"}},"number":{"pin":1,"apiKey":22}}"#;
    let artifact = Artifact {
        credentials_to_be_add: vec![Credential {
            alias: "alias".into(),
            password: "hunter22".into(),
        }],
        client_certificates_to_be_add: vec![content("c", "hunter22")],
        local_entries_to_be_add: vec![
            content("db-password", "<localEntry>x hunter22</localEntry>"),
            content("k", "<localEntry key='k'>again hunter22</localEntry>"),
        ],
        sequence_to_be_add: vec![content("s", "<sequence onError='x-hunter22'/>")],
        endpoint_entries_to_be_add: vec![content("e", "<endpoint name='hunter22'/>")],
        ..Artifact::parse(text).unwrap()
    };
    let shown = artifact.masked().to_text().unwrap();
    assert!(!shown.contains("hunter22"), "{shown}");
    assert!(shown.contains(r#""alias":"alias""#), "{shown}");
    assert!(shown.contains(r#""pin":1"#), "{shown}");
}

/// A name of a secret in some spelling.
fn secret_name() -> impl Strategy<Value = String> {
    let names = prop::sample::select(vec![
        "Authorization",
        "proxy-authorization",
        "password",
        "user.Password",
        "clientSecret",
        "client_secret",
        "access-token",
        "accessToken",
        "ApiKey",
        "x-api-key",
        "PASSWD",
        "credentials",
    ]);
    (names, any::<bool>(), any::<bool>()).prop_map(|(name, upper, lower)| match (upper, lower) {
        (true, _) => name.to_uppercase(),
        (_, true) => name.to_lowercase(),
        _ => name.to_owned(),
    })
}

/// A piece of XML that holds the secret.
fn planted(secret: &'static str) -> impl Strategy<Value = String> {
    (secret_name(), "[a-z ]{0,8}", 0..10_u8).prop_map(move |(name, filler, place)| match place {
        0 => format!("<property name=\"{name}\" value=\"{filler}{secret}\"/>"),
        1 => format!("<property value='{secret}' scope='transport' name='{name}'/>"),
        2 => format!("<{name}>{filler}{secret}</{name}>"),
        3 => format!("<{name}><a><b>{filler}</b><c d=\"{secret}\"/></a></{name}>"),
        4 => format!("<a {name}=\"{secret}\">{filler}</a>"),
        5 => format!(
            "<e><address uri=\"http://{}:{secret}@h/x\"/></e>",
            name.len()
        ),
        6 => format!("<p key=\"{name}\"><![CDATA[{filler}{secret}]]></p>"),
        7 => format!("<x><n>{name}</n><v>{filler}{secret}</v></x>"),
        8 => format!("<f>{{\"{name}\": \"{secret}\"}}</f>"),
        _ => format!("<a>{filler}<!-- {secret} --></a>"),
    })
}

/// Ordinary XML with a place for something else inside.
fn around() -> impl Strategy<Value = (String, String)> {
    let tag = prop::sample::select(vec![
        ("<api name='A' context='/a'>", "</api>"),
        (
            "<resource methods='GET'><inSequence>",
            "</inSequence></resource>",
        ),
        ("text &amp; <log level='full'/>", "&#32;<send/>"),
        ("<switch source='$x'><case regex='.*'>", "</case></switch>"),
    ]);
    prop::collection::vec(tag, 0..4).prop_map(|tags| {
        let before = tags.iter().map(|tag| tag.0).collect();
        (before, tags.iter().rev().map(|tag| tag.1).collect())
    })
}

const SECRET: &str = "zQ9planted7Xv";

proptest! {
    #[test]
    fn a_planted_secret_never_comes_out(
        planted in planted(SECRET), (before, after) in around(), place in 0..5_u8,
    ) {
        let xml = format!("<root>{before}{planted}{after}</root>");
        let content = vec![Content { name: "n".into(), content: xml.clone() }];
        let mut artifact = artifact();
        match place {
            0 => artifact.api_definition = Some(xml),
            1 => artifact.sequence_to_be_add = content,
            2 => artifact.endpoint_entries_to_be_add = content,
            3 => artifact.local_entries_to_be_add = content,
            _ => { artifact.other.insert("more".into(), xml.into()); }
        }
        let shown = artifact.masked().to_text().unwrap();
        prop_assert!(!shown.contains(SECRET), "{}", shown);
    }

    #[test]
    fn a_known_password_comes_out_nowhere(xml in ".{0,20}", more in ".{0,20}") {
        let mut artifact = artifact();
        artifact.credentials_to_be_add = vec![Credential { alias: "a".into(), password: SECRET.into() }];
        artifact.api_definition = Some(format!("<a b='x'>{SECRET}</a>{xml}{SECRET}"));
        artifact.other.insert("o".into(), format!("{more}{SECRET}{xml}").into());
        let shown = artifact.masked().to_text().unwrap();
        prop_assert!(!shown.contains(SECRET), "{}", shown);
    }

    #[test]
    fn no_text_panics_and_what_is_shown_can_be_shown_again(text in "[<>&;a-z\"'=/!\\[\\]@: -]{0,60}") {
        let once = shown(&text);
        prop_assert_eq!(shown(&once), once);
    }
}
