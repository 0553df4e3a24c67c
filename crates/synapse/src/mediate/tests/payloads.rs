//! Arguments and expressions in payloads.

use super::mediators::run;

const JSON: &str = "application/json";

fn made(media: &str, format: &str, arguments: &str) -> String {
    let body = r#"{"o":{"k":[1]},"s":"a\"<b","x":"<i><j>1</j></i>","n":1.5}"#;
    let inside = format!(
        "<property name='xml' value='&lt;i&gt;&lt;j&gt;1&lt;/j&gt;&lt;/i&gt;'/><property name='p' value='a&amp;b'/>\
         <payloadFactory media-type='{media}'><format>{format}</format><args>{arguments}</args></payloadFactory><respond/>"
    );
    run(&inside, JSON, body).2
}

#[test]
fn texts_that_are_xml_stand_in_payloads_as_xml() {
    let property = "<arg expression='$ctx:xml'/>";
    assert_eq!(
        made("xml", "<r xmlns=''>$1</r>", property),
        "<r xmlns=''><i><j>1</j></i></r>"
    );
    assert_eq!(
        made("json", "{\"r\":$1}", property),
        r#"{"r":{"i":{"j":1}}}"#
    );
    let written = "<arg value=' &lt;i/&gt;'/>";
    assert_eq!(
        made("xml", "<r xmlns=''>$1</r>", written),
        "<r xmlns=''> <i/></r>"
    );
    let declared = "<arg value='&lt;?xml version=\"1.0\"?&gt;&lt;i/&gt;'/>";
    assert_eq!(
        made("xml", "<r xmlns=''>$1</r>", declared),
        "<r xmlns=''><i/></r>"
    );
    // What is told to be a text is one, and so is what JSON holds, and what only looks so.
    let escaped = "<r xmlns=''>&lt;i&gt;&lt;j&gt;1&lt;/j&gt;&lt;/i&gt;</r>";
    for argument in [
        "<arg literal='true' expression='$ctx:xml'/>",
        "<arg evaluator='json' expression='$.x'/>",
        "<arg expression='json-eval($.x)'/>",
    ] {
        assert_eq!(
            made("xml", "<r xmlns=''>$1</r>", argument),
            escaped,
            "{argument}"
        );
    }
    let broken = "<arg value='&lt;i&gt;'/>";
    assert_eq!(
        made("xml", "<r xmlns=''>$1</r>", broken),
        "<r xmlns=''>&lt;i&gt;</r>"
    );
    assert_eq!(made("text", "$1", property), "<i><j>1</j></i>");
}

#[test]
fn expressions_in_a_format_are_evaluated_for_each_message() {
    let json = r#"{"o":${payload.o},"s":"${payload.s}","n":${payload.n},"p":"${props.synapse.p}5","a":"$1"}"#;
    assert_eq!(
        made("json", json, "<arg value='v'/>"),
        r#"{"o":{"k":[1]},"s":"a\"<b","n":1.5,"p":"a&b5","a":"v"}"#
    );
    let xml = "<r xmlns='' a='${props.synapse.p}'>${payload.s} ${payload[&apos;n&apos;]}${xpath(\"//o/k\")}</r>";
    assert_eq!(
        made("xml", xml, ""),
        "<r xmlns='' a='a&amp;b'>a&quot;&lt;b 1.51</r>"
    );
    assert_eq!(made("text", "${params.pathParams.id}2", ""), "72");
}

#[test]
fn what_is_no_expression_stays_in_a_format() {
    for format in [
        "${vars.x}",
        "${1}",
        "${payload.n",
        "$1${}",
        "${ payload.n + 1 }",
        "${{payload.n}}",
    ] {
        assert_eq!(made("text", format, ""), format);
    }
    assert_eq!(
        made("text", "${1}$1${payload.n}", "<arg value='v'/>"),
        "${1}v1.5"
    );
}

#[test]
fn numbers_keep_their_digits_on_every_way() {
    let body = r#"{"a":1.50,"b":1e2,"c":12345678901234567890,"d":[2.0]}"#;
    let message_type = |media: &str| {
        format!("<property name='messageType' scope='axis2' value='{media}'/><respond/>")
    };
    let xml = "<jsonObject><a>1.50</a><b>1e2</b><c>12345678901234567890</c><d>2.0</d></jsonObject>";
    assert_eq!(run(&message_type("application/xml"), JSON, body).2, xml);
    let json = run(
        &message_type(JSON),
        "application/xml",
        "<p><q>9.90</q><r>01</r><s>1.</s></p>",
    )
    .2;
    assert_eq!(json, r#"{"p":{"q":9.90,"r":"01","s":"1."}}"#);
    let read = "<payloadFactory media-type='json'><format>{\"a\":$1,\"d\":$2}</format><args>\
        <arg evaluator='json' expression='$.a'/><arg evaluator='json' expression='$.d'/></args></payloadFactory><respond/>";
    assert_eq!(run(read, JSON, body).2, r#"{"a":1.50,"d":[2.0]}"#);
    let enrich = "<enrich><source xpath='json-eval($.c)'/><target xpath='json-eval($.d[0])'/></enrich><respond/>";
    let expected = body.replace("[2.0]", "[12345678901234567890]");
    assert_eq!(run(enrich, JSON, body).2, expected);
    let found = "<property name='x' scope='transport' expression='json-eval($.l[?(@.n == 1.5)].k)'/><respond/>";
    let list = r#"{"l":[{"n":1.50,"k":7},{"n":2.50,"k":8}]}"#;
    assert_eq!(run(found, JSON, list).1["x"], "[7]");
}
