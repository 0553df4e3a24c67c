//! Brokers that fail.

use test_servers::Own;

use super::*;

/// Publishes one event until the broker has it.
async fn publish_stubbornly(bus: &Bus, n: u64) {
    let sending = async {
        while bus.publish(&[event(n)]).await != [Ok(())] {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(PATIENCE, sending).await.expect("sent in time");
}

/// Waits until the subscription says this.
async fn hears(subscription: &mut Subscription, expected: &Heard) {
    while heard(subscription).await != *expected {}
}

#[tokio::test]
async fn a_broker_that_was_killed_is_subscribed_to_again() {
    let Some(broker) = Own::start(Kind::RabbitMq, "a broker that is killed").await else {
        return;
    };
    let bus = Bus::Amqp(AmqpBus::new(options(&[broker.server], "notification")));
    let mut subscription = subscribed(&bus).await;
    publish_stubbornly(&bus, 1).await;
    assert_eq!(next_event(&mut subscription).await, event(1));
    broker.kill().await;
    hears(&mut subscription, &Heard::Lost).await;
    assert!(matches!(
        bus.publish(&[event(2)]).await[..],
        [Err(NotSent::Lost(_))]
    ));
    broker.restart().await;
    hears(&mut subscription, &Heard::Subscribed).await;
    publish_stubbornly(&bus, 3).await;
    assert_eq!(next_event(&mut subscription).await, event(3));
}

#[tokio::test]
async fn a_broker_that_hangs_is_noticed_by_its_heartbeat() {
    let Some(broker) = Own::start(Kind::RabbitMq, "a broker that hangs").await else {
        return;
    };
    let bus = Bus::Amqp(AmqpBus::new(options(&[broker.server], "notification")));
    let mut subscription = subscribed(&bus).await;
    publish_stubbornly(&bus, 1).await;
    broker.pause().await;
    let sent = bus.publish(&[event(2)]).await;
    assert!(matches!(sent[..], [Err(NotSent::Lost(_))]), "{sent:?}");
    hears(&mut subscription, &Heard::Lost).await;
    broker.unpause().await;
    hears(&mut subscription, &Heard::Subscribed).await;
    publish_stubbornly(&bus, 3).await;
    while next_event(&mut subscription).await != event(3) {}
}

#[tokio::test]
async fn the_next_broker_takes_over_until_the_preferred_one_is_back() {
    let Some(first) = Own::start(Kind::RabbitMq, "two brokers").await else {
        return;
    };
    let second = Own::start(Kind::RabbitMq, "two brokers").await.unwrap();
    let servers = [first.server, second.server];
    let bus = Bus::Amqp(AmqpBus::new(options(&servers, "notification")));
    let only = |server| Bus::Amqp(AmqpBus::new(options(&[server], "notification")));
    let mut subscription = subscribed(&bus).await;
    publish_stubbornly(&only(first.server), 1).await;
    assert_eq!(next_event(&mut subscription).await, event(1));

    first.kill().await;
    hears(&mut subscription, &Heard::Lost).await;
    hears(&mut subscription, &Heard::Subscribed).await;
    publish_stubbornly(&bus, 2).await;
    assert_eq!(next_event(&mut subscription).await, event(2));
    publish_stubbornly(&only(second.server), 3).await;
    assert_eq!(next_event(&mut subscription).await, event(3));

    // Back to the first one without a break.
    first.restart().await;
    assert_eq!(heard(&mut subscription).await, Heard::Subscribed);
    publish_stubbornly(&only(first.server), 4).await;
    assert_eq!(next_event(&mut subscription).await, event(4));
    // The sender, too, goes back, at its own time.
    let mut at_first = subscribed(&only(first.server)).await;
    let mut at_second = subscribed(&only(second.server)).await;
    let sending = async {
        loop {
            bus.publish(&[event(5)]).await;
            tokio::select! {
                heard = at_first.next() => break heard,
                _ = at_second.next() => {}
            }
        }
    };
    let heard = timeout(PATIENCE, sending).await.expect("goes back in time");
    assert!(matches!(heard, Some(Heard::Event(_))), "{heard:?}");
}

/// RabbitMQ with its alarm of memory: it takes nothing from publishers, connections stand.
#[tokio::test]
async fn a_broker_that_takes_nothing_is_waited_for_on_one_connection() {
    let Some(broker) = Own::start(Kind::RabbitMq, "a broker that is short of memory").await else {
        return;
    };
    let bus = Bus::Amqp(AmqpBus::new(options(&[broker.server], "notification")));
    let mut subscription = subscribed(&bus).await;
    publish_stubbornly(&bus, 1).await;
    broker
        .rabbitmqctl("set_vm_memory_high_watermark 0.00001")
        .await;
    let blocked = async {
        loop {
            let sent = bus.publish(&[event(2)]).await;
            if format!("{sent:?}").contains("takes nothing for now") {
                break;
            }
        }
    };
    timeout(PATIENCE, blocked)
        .await
        .expect("the alarm is noticed");
    for _ in 0..20 {
        assert_ne!(bus.publish(&[event(2)]).await, [Ok(())]);
    }
    let connections = broker.rabbitmqctl("--quiet list_connections pid").await;
    let pids = connections.lines().filter(|line| line.starts_with('<'));
    assert_eq!(pids.count(), 2, "{connections}");
    broker.rabbitmqctl("set_vm_memory_high_watermark 0.8").await;
    publish_stubbornly(&bus, 3).await;
    while next_event(&mut subscription).await != event(3) {}
}
