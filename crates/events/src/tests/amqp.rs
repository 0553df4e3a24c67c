//! What others see of the bus on the broker.

use futures_util::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, QueueBindOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

use super::*;
use crate::map_message::{Value, read_amqp_map};

async fn broker() -> Option<Server> {
    test_servers::shared(Kind::RabbitMq, "the bus over AMQP").await
}

/// A plain client of the broker.
async fn channel(server: Server) -> (Connection, Channel) {
    let url = format!("amqp://guest:guest@127.0.0.1:{}/%2f", server.port);
    let connection = Connection::connect(&url, ConnectionProperties::default());
    let connection = connection.await.unwrap();
    let channel = connection.create_channel().await.unwrap();
    (connection, channel)
}

async fn publish_plainly(channel: &Channel, topic: &str, content_type: Option<&str>, body: &[u8]) {
    let mut properties = BasicProperties::default();
    if let Some(content_type) = content_type {
        properties = properties.with_content_type(content_type.into());
    }
    let flags = BasicPublishOptions::default();
    channel
        .basic_publish("amq.topic".into(), topic.into(), flags, body, properties)
        .await
        .unwrap();
}

#[tokio::test]
async fn a_strangers_large_properties_are_no_harm() {
    let Some(server) = broker().await else { return };
    let topic = topic();
    let bus = Bus::Amqp(AmqpBus::new(options(&[server], &topic)));
    let mut subscription = subscribed(&bus).await;
    let (_connection, channel) = channel(server).await;
    let mut headers = FieldTable::default();
    let large = AMQPValue::LongString("x".repeat(30_000).into());
    headers.insert("large".into(), large);
    let properties = BasicProperties::default().with_headers(headers);
    let flags = BasicPublishOptions::default();
    channel
        .basic_publish(
            "amq.topic".into(),
            topic.as_str().into(),
            flags,
            b"{}",
            properties,
        )
        .await
        .unwrap();
    assert_eq!(bus.publish(&[event(1)]).await, [Ok(())]);
    assert_eq!(next_event(&mut subscription).await, event(1));
    assert_eq!(subscription.counters().now().subscribed, 1);
}

#[tokio::test]
async fn an_event_that_nobody_listens_for_is_returned() {
    let Some(server) = broker().await else { return };
    let bus = Bus::Amqp(AmqpBus::new(options(&[server], &topic())));
    let sent = bus.publish(&events(0..3)).await;
    assert!(
        sent.iter()
            .all(|sent| matches!(sent, Err(NotSent::Returned(reason)) if reason == "NO_ROUTE")),
        "{sent:?}"
    );
    // The connection is as good as before.
    let mut subscription = subscribed(&bus).await;
    assert_eq!(bus.publish(&[event(1)]).await, [Ok(())]);
    assert_eq!(next_event(&mut subscription).await, event(1));
}

/// What a gateway of API Manager 3.2.0 looks at.
#[tokio::test]
async fn messages_are_what_the_original_sends() {
    let Some(server) = broker().await else { return };
    let topic = topic();
    let (_connection, channel) = channel(server).await;
    let flags = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let none = FieldTable::default;
    let queue = channel
        .queue_declare("".into(), flags, none())
        .await
        .unwrap();
    let (name, key) = (queue.name().clone(), topic.as_str().into());
    let flags = QueueBindOptions::default();
    channel
        .queue_bind(name.clone(), "amq.topic".into(), key, flags, none())
        .await
        .unwrap();
    let flags = BasicConsumeOptions::default();
    let mut consumer = channel
        .basic_consume(name, "1".into(), flags, none())
        .await
        .unwrap();

    let bus = Bus::Amqp(AmqpBus::new(options(&[server], &topic)));
    assert_eq!(bus.publish(&[event(2)]).await, [Ok(())]);
    let delivery = consumer.next().await.unwrap().unwrap();
    delivery.ack(BasicAckOptions::default()).await.unwrap();
    assert_eq!(delivery.exchange.as_str(), "amq.topic");
    let properties = &delivery.properties;
    let text = |text: &Option<lapin::types::ShortString>| text.as_ref().map(ToString::to_string);
    assert_eq!(text(properties.content_type()).as_deref(), Some("amqp/map"));
    assert_eq!(properties.delivery_mode(), &Some(2));
    assert_eq!(properties.priority(), &Some(4));
    assert_eq!(properties.timestamp(), &Some(1_597_929_892_000));
    assert_eq!(text(properties.user_id()).as_deref(), Some("guest"));
    let id = text(properties.message_id()).unwrap();
    assert_eq!(id, format!("ID:{}", event(2).event_id));
    let headers = properties.headers().as_ref().unwrap();
    let kind = headers.inner().get("JMS_QPID_DESTTYPE").unwrap();
    assert_eq!(*kind, AMQPValue::LongInt(2));
    let map = read_amqp_map(&delivery.data).unwrap();
    let event_type = map.get("eventType").and_then(Value::as_str);
    assert_eq!(event_type, Some("DEPLOY_API_IN_GATEWAY"));
    assert_eq!(map.get("timestamp"), Some(&Value::Long(1_597_929_892_000)));
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_passed_over() {
    let Some(server) = broker().await else { return };
    let topic = topic();
    let bus = Bus::Amqp(AmqpBus::new(options(&[server], &topic)));
    let mut subscription = subscribed(&bus).await;
    let (_connection, channel) = channel(server).await;
    let good = encode(&event(1)).unwrap().body;
    publish_plainly(&channel, &topic, None, &good).await;
    publish_plainly(&channel, &topic, Some("amqp/map"), &good[..20]).await;
    publish_plainly(&channel, &topic, Some("AMQP/MAP"), &good).await;
    publish_plainly(&channel, &topic, Some("text/plain"), b"{\"event\":1}").await;
    let other = br#"{"event":{"payloadData":{"eventType":"API_CREATE","timestamp":1,"event":""}}}"#;
    publish_plainly(&channel, &topic, Some("text/plain"), other).await;
    publish_plainly(&channel, &topic, Some("amqp/map"), &good).await;
    assert_eq!(next_event(&mut subscription).await, event(1));
    let counted = subscription.counters().now();
    assert_eq!(
        (counted.malformed, counted.other, counted.events),
        (4, 1, 1)
    );
}

#[tokio::test]
async fn what_the_broker_refuses_is_said_without_the_password() {
    let Some(server) = broker().await else { return };
    let mut wrong = options(&[server], &topic());
    wrong.password = Secret::new("s3cret");
    let sent = Bus::Amqp(AmqpBus::new(wrong.clone()))
        .publish(&events(0..1))
        .await;
    let Err(NotSent::Lost(reason)) = &sent[0] else {
        panic!("{sent:?}");
    };
    assert!(reason.contains("ACCESS_REFUSED"), "{reason}");
    assert!(
        !format!("{reason} {wrong:?}").contains("s3cret"),
        "{reason}"
    );
    let mut nowhere = options(&[server], &topic());
    nowhere.virtual_host = "/nowhere".into();
    let sent = Bus::Amqp(AmqpBus::new(nowhere))
        .publish(&events(0..1))
        .await;
    assert!(format!("{sent:?}").contains("/nowhere"), "{sent:?}");
}

#[tokio::test]
async fn the_queue_goes_with_the_subscription() {
    let Some(server) = broker().await else { return };
    let bus = Bus::Amqp(AmqpBus::new(options(&[server], &topic())));
    let subscription = subscribed(&bus).await;
    assert_eq!(bus.publish(&[event(1)]).await, [Ok(())]);
    drop(subscription);
    let returned = async {
        while bus.publish(&[event(2)]).await == [Ok(())] {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, returned)
        .await
        .expect("nobody listens any more");
}

/// Something that accepts connections and says nothing, as a proxy before a dead broker does.
#[tokio::test]
async fn a_broker_that_says_nothing_is_given_up_and_let_go_of() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let server = Server {
        kind: Kind::RabbitMq,
        port: silent.local_addr().unwrap().port(),
    };
    let bus = Bus::Amqp(AmqpBus::new(options(&[server], "notification")));
    let publishing = tokio::spawn(async move { bus.publish(&[event(1)]).await });
    let (mut stream, _) = silent.accept().await.unwrap();
    let sent = publishing.await.unwrap();
    assert!(format!("{sent:?}").contains("no answer"), "{sent:?}");
    let mut said = Vec::new();
    let read = tokio::io::AsyncReadExt::read_to_end(&mut stream, &mut said);
    timeout(PATIENCE, read)
        .await
        .expect("the stream is ended")
        .unwrap();
    assert!(said.starts_with(b"AMQP"), "{said:?}");
}
