//! What events say to this gateway. Events are hints: they change when something is pulled, never
//! what is deployed.

use events::{Event, Heard};

use crate::sync_core::Input;

/// What the core is told of what was heard in the data center `dc`. Positions of another one's
/// events say nothing about the logs here.
pub fn inputs(heard: &Heard, dc: &str) -> Vec<Input> {
    match heard {
        Heard::Subscribed => vec![Input::Subscribed],
        Heard::Lost => vec![Input::Lost],
        Heard::Event(event) => announced(event, dc),
    }
}

fn announced(event: &Event, dc: &str) -> Vec<Input> {
    let labels = event.gateway_labels.iter();
    let said = labels.map(|label| {
        let position = event.positions.iter().find(|at| at.label == *label);
        Input::Announced {
            label: label.clone(),
            seq: position.filter(|_| event.dc == dc).map(|at| at.seq),
        }
    });
    said.collect()
}

#[cfg(test)]
mod tests {
    use artifact::{Announcement, Digest, Instruction, Label, SavedTo};

    use super::*;

    #[test]
    fn positions_of_another_data_center_say_only_that_there_is_news() {
        let label = Label::parse("L1").unwrap();
        let event = Event::of(&Announcement {
            dc: "DC2".into(),
            api_id: "a".into(),
            name: "a".into(),
            version: "1".into(),
            tenant_domain: "carbon.super".into(),
            instruction: Instruction::Publish,
            digest: Digest::of(b""),
            time: 1,
            labels: vec![SavedTo {
                label: label.clone(),
                seq: 7,
            }],
        });
        let heard = Heard::Event(std::sync::Arc::new(event));
        let seq_in = |dc| match &inputs(&heard, dc)[..] {
            [Input::Announced { label: named, seq }] if *named == label => *seq,
            other => panic!("{other:?}"),
        };
        assert_eq!(seq_in("DC2"), Some(7));
        assert_eq!(seq_in("DC1"), None);
    }
}
