//! What differs from one sample to the next: ids, people, companies, times.

use rand::{Rng as _, RngCore};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

const BASE62: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

const FIRST_NAMES: [&str; 16] = [
    "Amara", "Björn", "Chidi", "Dalia", "Elif", "Farid", "Greta", "Hiroshi", "Inés", "Jonas",
    "Kavya", "Liam", "Mei", "Noor", "Oksana", "Pedro",
];
const LAST_NAMES: [&str; 16] = [
    "Abebe", "Brandt", "Castillo", "Dubois", "Eriksen", "Fofana", "Gupta", "Horváth", "Ito",
    "Jansen", "Kowalski", "Lopez", "Mbeki", "Novak", "O'Brien", "Park",
];
const COMPANIES: [(&str, &str); 8] = [
    ("Northwind Bakery", "northwind-bakery"),
    ("Blue Harbor Logistics", "blue-harbor"),
    ("Lumen Robotics", "lumen-robotics"),
    ("Quiet Forest Games", "quiet-forest"),
    ("Peak & Valley Outdoor", "peak-valley"),
    ("Tessellate Health", "tessellate-health"),
    ("Orchard Street Books", "orchard-street"),
    ("Meridian Legal", "meridian-legal"),
];
const AGENTS: [&str; 4] = [
    "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Safari/605.1.15",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
];

/// A person of the pool.
#[derive(Clone, Debug)]
pub(crate) struct Person {
    pub(crate) first: &'static str,
    pub(crate) last: &'static str,
    pub(crate) email: String,
}

/// A company of the pool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Company {
    pub(crate) name: &'static str,
    pub(crate) slug: &'static str,
}

/// The source of everything that varies.
pub struct Draw<'r> {
    rng: &'r mut dyn RngCore,
    now_millis: u64,
}

impl<'r> Draw<'r> {
    /// `now_millis` is Unix time; it stands in the bodies.
    pub fn new(rng: &'r mut dyn RngCore, now_millis: u64) -> Self {
        Self { rng, now_millis }
    }

    pub(crate) fn now(&self) -> u64 {
        self.now_millis
    }

    /// Some time within the last days.
    pub(crate) fn before(&mut self, days: u64) -> u64 {
        let span = days * 86_400_000;
        self.now_millis
            .saturating_sub(self.number(60_000, span.max(60_001)))
    }

    pub(crate) fn after(&self, days: u64) -> u64 {
        self.now_millis + days * 86_400_000
    }

    /// `2026-11-25T22:05:45Z`
    pub(crate) fn text_time(&self) -> String {
        let seconds = i64::try_from(self.now_millis / 1000).unwrap_or_default();
        OffsetDateTime::from_unix_timestamp(seconds)
            .ok()
            .and_then(|at| at.format(&Rfc3339).ok())
            .unwrap_or_default()
    }

    /// A number from `low` up to and without `high`.
    pub(crate) fn number(&mut self, low: u64, high: u64) -> u64 {
        self.rng.random_range(low..high)
    }

    pub(crate) fn chance(&mut self, percent: u32) -> bool {
        self.rng.random_range(0..100) < percent
    }

    pub(crate) fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.rng.random_range(0..from.len())]
    }

    /// `user_2Xyz…`: a prefix and 27 letters and digits.
    pub(crate) fn id(&mut self, prefix: &str) -> String {
        format!("{prefix}_{}", self.text(27))
    }

    pub(crate) fn text(&mut self, length: usize) -> String {
        (0..length).map(|_| char::from(self.pick(BASE62))).collect()
    }

    pub(crate) fn hex(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(self.pick(b"0123456789abcdef")))
            .collect()
    }

    pub(crate) fn digits(&mut self, length: usize) -> String {
        (0..length)
            .map(|_| char::from(self.pick(b"0123456789")))
            .collect()
    }

    /// A random (version 4) UUID.
    pub(crate) fn uuid(&mut self) -> String {
        let variant = char::from(self.pick(b"89ab"));
        format!(
            "{}-{}-4{}-{variant}{}-{}",
            self.hex(8),
            self.hex(4),
            self.hex(3),
            self.hex(3),
            self.hex(12)
        )
    }

    pub(crate) fn person(&mut self) -> Person {
        let (first, last) = (self.pick(&FIRST_NAMES), self.pick(&LAST_NAMES));
        let letters = |name: &str| {
            let plain: String = name.chars().filter(char::is_ascii_alphabetic).collect();
            plain.to_lowercase()
        };
        let number = self.number(1, 999);
        Person {
            first,
            last,
            email: format!("{}.{}{number}@example.com", letters(first), letters(last)),
        }
    }

    pub(crate) fn company(&mut self) -> Company {
        let (name, slug) = self.pick(&COMPANIES);
        Company { name, slug }
    }

    pub(crate) fn phone(&mut self) -> String {
        // 555-01xx is set aside for examples.
        format!("+1{}55501{}", self.number(201, 990), self.digits(2))
    }

    /// An address of the ranges set aside for documentation.
    pub(crate) fn ip(&mut self) -> String {
        let net = self.pick(&["192.0.2", "198.51.100", "203.0.113"]);
        format!("{net}.{}", self.number(1, 255))
    }

    pub(crate) fn user_agent(&mut self) -> &'static str {
        self.pick(&AGENTS)
    }
}
