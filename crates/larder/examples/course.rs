//! A dynamic consistency boundary: one condition over two tags.
//!
//! A course has so many seats, a student may take so many courses. Neither rule fits one stream, so the
//! decision is guarded by the events it was based on. Run it with `cargo run -p larder --example course`.

use std::{error::Error, fmt};

use larder::{AppendCondition, ErrorKind, EventLog, NewEvent, Position, Query, QueryItem, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug, Serialize, Deserialize)]
enum CourseEvent {
    CourseDefined { course: String, capacity: u32 },
    StudentSubscribed { course: String, student: String },
}
use CourseEvent::{CourseDefined, StudentSubscribed};

#[derive(Debug, PartialEq)]
enum Refusal {
    UnknownCourse,
    CourseFull,
    TooManyCourses,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCourse => "there is no such course",
            Self::CourseFull => "the course is full",
            Self::TooManyCourses => "the student has too many courses",
        })
    }
}

impl Error for Refusal {}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

const COURSES_PER_STUDENT: u32 = 10;
const ATTEMPTS: usize = 5;

/// Every event that the decision depends on.
fn boundary(course: &str, student: &str) -> Query {
    Query::from([
        QueryItem::new().types(["CourseDefined", "StudentSubscribed"]).tag(format!("course:{course}")),
        QueryItem::new().types(["StudentSubscribed"]).tag(format!("student:{student}")),
    ])
}

/// Subscribes a student: read, decide, and append unless somebody was faster; then once more.
async fn subscribe(log: &EventLog, course: &str, student: &str) -> Result<Position> {
    let query = boundary(course, student);
    for _ in 0..ATTEMPTS {
        let page = log.query(&query).await?;
        decide(&page, course, student)?;

        let event =
            NewEvent::from_enum(&StudentSubscribed { course: course.into(), student: student.into() })
                .tags([format!("course:{course}"), format!("student:{student}")]);
        // What was read is what is guarded: the page's `through`, not the log's head.
        let condition = AppendCondition { fail_if_events_match: query.clone(), after: page.through };
        match log.append_if([event], condition).await {
            Ok(appended) => return Ok(appended.last_position),
            Err(error) => match error.kind() {
                ErrorKind::ConditionFailed { matching } => {
                    for other in matching {
                        eprintln!("in the way: {} {} {:?}", other.position, other.event_type, other.tags);
                    }
                }
                _ => return Err(error.into()),
            },
        }
    }
    Err("too much contention".into())
}

/// The business rules, over the events of the boundary.
fn decide(events: &larder::Page<larder::Event>, course: &str, student: &str) -> Result<()> {
    let (mut capacity, mut taken, mut mine) = (None, 0, 0);
    for event in events {
        match event.decode_enum()? {
            CourseDefined { capacity: seats, .. } => capacity = Some(seats),
            StudentSubscribed { course: c, student: s } => {
                taken += u32::from(c == course);
                mine += u32::from(s == student);
            }
        }
    }
    if taken >= capacity.ok_or(Refusal::UnknownCourse)? {
        return Err(Refusal::CourseFull.into());
    }
    if mine >= COURSES_PER_STUDENT {
        return Err(Refusal::TooManyCourses.into());
    }
    Ok(())
}

#[tokio::main]
async fn main() -> Result<()> {
    let store = Store::memory();
    let log = store.event_log("courses")?;

    // No stream; guarded against a second definition.
    let defined = NewEvent::from_enum(&CourseDefined { course: "c1".into(), capacity: 2 }).tag("course:c1");
    let once = AppendCondition {
        fail_if_events_match: QueryItem::new().types(["CourseDefined"]).tag("course:c1").into(),
        after: Position::START,
    };
    log.append_if([&defined], once.clone()).await?;
    println!("c1 has 2 seats");

    // Both guards at once: the stream is new, but the course is not.
    let again = log.append("course-c1", 0, [&defined]).condition(once).await;
    println!("defined again: {}", again.map_or_else(|error| error.to_string(), |_| "yes".into()));

    // The students race for the seats.
    let students = ["s1", "s2", "s3"].map(|student| {
        let log = log.clone();
        tokio::spawn(async move { (student, subscribe(&log, "c1", student).await) })
    });
    let (mut seated, mut refused) = (0, Vec::new());
    for student in students {
        match student.await? {
            (_, Ok(_)) => seated += 1,
            (_, Err(error)) => refused.push(error.to_string()),
        }
    }
    println!("{seated} have a seat; the other hears: {}", refused.join(", "));

    let nowhere = subscribe(&log, "c2", "s1").await.expect_err("nobody defined it");
    println!("c2: {nowhere}");
    store.close().await?;
    Ok(())
}
