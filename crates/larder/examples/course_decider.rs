//! The rules of `course.rs` as a decider: state, decision and events are pure, and tested as such.
//!
//! Run it with `cargo run -p larder --example course_decider`, its tests with
//! `cargo test -p larder --all-features --test deciders`.

use std::{error::Error, fmt};

use larder::{Decider, ExecuteError, NewEvent, Query, QueryItem, ScopedDecider, Store};
use serde::{Deserialize, Serialize};

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum CourseEvent {
    CourseDefined { course: String, capacity: usize },
    StudentSubscribed { course: String, student: String },
}
use CourseEvent::{CourseDefined, StudentSubscribed};

#[derive(Debug, PartialEq)]
enum Refusal {
    UnknownCourse,
    CourseFull,
    SubscribedAlready,
    TooManyCourses,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnknownCourse => "there is no such course",
            Self::CourseFull => "the course is full",
            Self::SubscribedAlready => "the student has a seat already",
            Self::TooManyCourses => "the student has too many courses",
        })
    }
}

impl Error for Refusal {}

const COURSES_PER_STUDENT: usize = 3;

struct Subscribe {
    course: String,
    student: String,
}

/// What a decision depends on: the course's capacity, and who has a seat where.
#[derive(Default)]
struct Seats {
    capacity: Option<usize>,
    taken: Vec<(String, String)>,
}

struct Courses;

impl Decider for Courses {
    type State = Seats;
    type Command = Subscribe;
    type Event = CourseEvent;
    type Rejection = Refusal;

    fn initial(&self) -> Seats {
        Seats::default()
    }

    fn evolve(&self, mut seats: Seats, event: &CourseEvent) -> Seats {
        match event {
            CourseDefined { capacity, .. } => seats.capacity = Some(*capacity),
            StudentSubscribed { course, student } => seats.taken.push((course.clone(), student.clone())),
        }
        seats
    }

    fn decide(&self, seats: &Seats, command: &Subscribe) -> Result<Vec<CourseEvent>, Refusal> {
        let Subscribe { course, student } = command;
        let capacity = seats.capacity.ok_or(Refusal::UnknownCourse)?;
        let count = |matches: &dyn Fn(&(String, String)) -> bool| {
            seats.taken.iter().filter(|seat| matches(seat)).count()
        };
        if seats.taken.contains(&(course.clone(), student.clone())) {
            return Err(Refusal::SubscribedAlready);
        }
        if count(&|(taken, _)| taken == course) >= capacity {
            return Err(Refusal::CourseFull);
        }
        if count(&|(_, who)| who == student) >= COURSES_PER_STUDENT {
            return Err(Refusal::TooManyCourses);
        }
        Ok(vec![StudentSubscribed { course: course.clone(), student: student.clone() }])
    }

    fn tags(&self, event: &CourseEvent) -> Vec<String> {
        match event {
            CourseDefined { course, .. } => vec![format!("course:{course}")],
            StudentSubscribed { course, student } => {
                vec![format!("course:{course}"), format!("student:{student}")]
            }
        }
    }
}

impl ScopedDecider for Courses {
    /// Everything of this course, and this student's seats elsewhere.
    fn scope(&self, command: &Subscribe) -> Query {
        Query::from([
            QueryItem::new()
                .types(["CourseDefined", "StudentSubscribed"])
                .tag(format!("course:{}", command.course)),
            QueryItem::new().types(["StudentSubscribed"]).tag(format!("student:{}", command.student)),
        ])
    }
}

fn subscribe(course: &str, student: &str) -> Subscribe {
    Subscribe { course: course.into(), student: student.into() }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let store = Store::memory();
    let log = store.event_log("courses")?;
    let defined = CourseDefined { course: "c1".into(), capacity: 2 };
    log.append_if([NewEvent::from_enum(&defined).tag("course:c1")], None).await?;

    // Ten students at once, two seats: the executor reads again and decides again for whoever was too late.
    let courses = log.scoped_decider(Courses).attempts(100);
    let tries = (0..10).map(|n| courses.execute(subscribe("c1", &format!("s{n}"))));
    let (mut seated, mut refused) = (0, 0);
    for tried in futures::future::join_all(tries).await {
        match tried {
            Ok(_) => seated += 1,
            Err(ExecuteError::Rejected(Refusal::CourseFull)) => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    println!("{seated} have a seat, {refused} hear that the course is full");
    match courses.execute(subscribe("c2", "s1")).await {
        Err(ExecuteError::Rejected(refusal)) => println!("c2: {refusal}"),
        other => println!("unexpected: {other:?}"),
    }
    store.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use larder::testing::given;

    use super::*;

    fn defined(capacity: usize) -> CourseEvent {
        CourseDefined { course: "c".into(), capacity }
    }

    fn seat(course: &str, student: &str) -> CourseEvent {
        StudentSubscribed { course: course.into(), student: student.into() }
    }

    #[test]
    fn a_free_seat_is_taken() {
        given(Courses, [defined(1)]).when(subscribe("c", "s")).then([seat("c", "s")]);
    }

    #[test]
    fn a_full_course_refuses() {
        given(Courses, [defined(1), seat("c", "other")])
            .when(subscribe("c", "s"))
            .rejected(Refusal::CourseFull);
    }

    #[test]
    fn a_student_takes_so_many_courses() {
        given(Courses, [defined(9), seat("d", "s"), seat("e", "s"), seat("f", "s")])
            .when(subscribe("c", "s"))
            .rejected(Refusal::TooManyCourses);
    }

    #[test]
    fn one_seat_is_enough() {
        given(Courses, [defined(9), seat("c", "s")])
            .when(subscribe("c", "s"))
            .rejected(Refusal::SubscribedAlready);
    }

    #[test]
    fn an_unknown_course_is_refused() {
        given(Courses, []).when(subscribe("c", "s")).rejected(Refusal::UnknownCourse);
    }
}
