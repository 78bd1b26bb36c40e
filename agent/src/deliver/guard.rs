//! Which addresses deliveries may go to. Checked when a name is resolved and when
//! a literal is dialled, because the connector asks no resolver for literals;
//! what is dialled is what was checked, so a name cannot change in between.
//!
//! Loopback, private, link-local, shared, reserved and multicast ranges are
//! refused, also when wrapped in IPv6; the operator's list opens exactly what it names.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;
use std::vec;

use http::Uri;
use hyper_util::client::legacy::connect::dns::{GaiResolver, Name};
use ipnet::{IpNet, Ipv4Net};
use thiserror::Error;
use tower_service::Service;

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;
type BoxFuture<T> = Pin<Box<dyn Future<Output = Result<T, BoxError>> + Send>>;

/// The operator's allow-list on top of the built-in refusals. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct AddressPolicy {
    allowed: Arc<[IpNet]>,
}

/// An address that the policy refuses.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("{0} is not an address that deliveries may go to; the operator can allow it")]
pub struct AddressRefused(pub String);

impl AddressPolicy {
    #[must_use]
    pub fn new(allowed: Vec<IpNet>) -> Self {
        Self {
            allowed: allowed.into_iter().map(plain).collect(),
        }
    }

    #[must_use]
    pub fn allows(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.allowed.iter().any(|net| net.contains(&address)) || is_public(address)
    }
}

/// A net of mapped addresses names the IPv4 net inside, as addresses are compared.
fn plain(net: IpNet) -> IpNet {
    const MAPPED: u8 = 96;
    let IpNet::V6(wide) = net else { return net };
    let inner = wide.prefix_len().checked_sub(MAPPED);
    match (wide.addr().to_ipv4_mapped(), inner) {
        (Some(address), Some(length)) => {
            Ipv4Net::new(address, length).map_or(net, |net| IpNet::V4(net.trunc()))
        }
        _ => net,
    }
}

fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => match embedded_v4(address) {
            // A translated or tunnelled address is as public as the one inside.
            Some(inner) => is_public_v4(inner),
            // Global unicast, without documentation (2001:db8::/32) and the
            // special 2001::/23, where Teredo stands.
            None => {
                let [first, second, ..] = address.segments();
                first & 0xe000 == 0x2000
                    && !(first == 0x2001 && (second == 0x0db8 || second < 0x0200))
                    && first != 0x3fff
            }
        },
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    /// Metadata and keys of Azure's machines, on a public address.
    const AZURE: [u8; 4] = [168, 63, 129, 16];
    let [a, b, c, _] = address.octets();
    !(address.octets() == AZURE
        || address.is_loopback()
        || address.is_private()
        || address.is_link_local()
        || address.is_broadcast()
        || address.is_documentation()
        || address.is_multicast()
        || a == 0
        || (a == 100 && b & 0xc0 == 64)
        || (a == 192 && b == 0 && c == 0)
        || (a == 192 && b == 88 && c == 99)
        || (a == 198 && b & 0xfe == 18)
        || a >= 240)
}

/// IPv4 inside IPv6: compatible, NAT64, 6to4 and ISATAP. Mapped ones are canonical
/// already; Teredo, translated and local NAT64 addresses are refused as a whole.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let [s0, s1, s2, s3, s4, s5, s6, s7] = address.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from((u32::from(high) << 16) | u32::from(low));
    match (s0, s1, s2, s3, s4, s5) {
        (0, 0, 0, 0, 0, 0) | (0x64, 0xff9b, 0, 0, 0, 0) => Some(join(s6, s7)),
        (0x2002, ..) => Some(join(s1, s2)),
        (0x2000..=0x3fff, _, _, _, 0 | 0x200, 0x5efe) => Some(join(s6, s7)),
        _ => None,
    }
}

/// Resolves names and drops the addresses that are refused.
#[derive(Clone)]
pub(super) struct GuardedResolver {
    pub(super) inner: GaiResolver,
    pub(super) policy: AddressPolicy,
}

impl Service<Name> for GuardedResolver {
    type Response = vec::IntoIter<SocketAddr>;
    type Error = BoxError;
    type Future = BoxFuture<Self::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, name: Name) -> Self::Future {
        let host = name.as_str().to_owned();
        let resolving = self.inner.call(name);
        let policy = self.policy.clone();
        Box::pin(async move {
            let all: Vec<SocketAddr> = resolving.await?.collect();
            let allowed: Vec<SocketAddr> = all
                .into_iter()
                .filter(|address| policy.allows(address.ip()))
                .collect();
            if allowed.is_empty() {
                Err(AddressRefused(host).into())
            } else {
                Ok(allowed.into_iter())
            }
        })
    }
}

/// Refuses literal addresses before the inner connector dials them.
#[derive(Clone)]
pub(super) struct GuardedConnector<C> {
    pub(super) inner: C,
    pub(super) policy: AddressPolicy,
    /// Of the whole way to a usable connection.
    pub(super) limit: Duration,
}

/// There was no usable connection in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("no connection within {} ms", .0.as_millis())]
pub(super) struct ConnectTimedOut(Duration);

impl<C> Service<Uri> for GuardedConnector<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<C::Response>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let host = uri.host().unwrap_or_default();
        let literal = host
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        if literal.is_ok_and(|address| !self.policy.allows(address)) {
            let refused = AddressRefused(host.to_owned());
            return Box::pin(async move { Err(refused.into()) });
        }
        let (connecting, limit) = (self.inner.call(uri), self.limit);
        Box::pin(async move {
            tokio::time::timeout(limit, connecting)
                .await
                .unwrap_or_else(|_| Err(ConnectTimedOut(limit).into()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_inside_are_refused_in_every_spelling_and_public_ones_pass() {
        let policy = AddressPolicy::default();
        let refused = [
            "127.0.0.1",
            "127.8.8.8",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.0.1",
            "192.0.0.8",
            "192.0.2.1",
            "192.88.99.1",
            "198.18.0.1",
            "198.19.255.255",
            "203.0.113.9",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::",
            "2002:a00:1::1",
            "2001::1",
            "2001:db8::1",
            "fc00::1",
            "fd12::1",
            "fe80::1",
            "fec0::1",
            "ff02::1",
            "100::1",
            "3fff::1",
            // Metadata of clouds, on link-local, shared, unique-local and public addresses.
            "169.254.170.2",
            "100.100.100.200",
            "192.0.0.192",
            "fd00:ec2::254",
            "168.63.129.16",
            "::ffff:169.254.169.254",
            "64:ff9b::a9fe:a9fe",
            "2002:a9fe:a9fe::1",
            "::169.254.169.254",
            // Translated (RFC 2765), ISATAP, Teredo and ORCHID.
            "::ffff:0:127.0.0.1",
            "2606:4700::5efe:10.0.0.1",
            "2606:4700::200:5efe:127.0.0.1",
            "2001:0:4136:e378:8000:63bf:3fff:fdd2",
            "2001:10::1",
            "2001:20::1",
            // Site-local, multicast of every scope, segment routing.
            "feff::1",
            "ff0e::1",
            "5f00::1",
            "239.255.255.255",
            "0.1.2.3",
        ];
        for text in refused {
            assert!(
                !policy.allows(text.parse().unwrap()),
                "{text} is let through"
            );
        }
        let public = [
            "8.8.8.8",
            "100.63.0.1",
            "172.32.0.1",
            "198.20.0.1",
            "2606:4700::1111",
            "64:ff9b::808:808",
            "2002:808:808::1",
            "2a00:1450::1",
            "2606:4700::5efe:8.8.8.8",
            "2001:4860:4860::8888",
            "168.63.129.17",
        ];
        for text in public {
            assert!(policy.allows(text.parse().unwrap()), "{text} is refused");
        }
    }

    #[test]
    fn the_allow_list_opens_exactly_what_it_names() {
        let policy = AddressPolicy::new(vec!["10.1.0.0/16".parse().unwrap()]);
        assert!(policy.allows("10.1.2.3".parse().unwrap()));
        assert!(policy.allows("::ffff:10.1.2.3".parse().unwrap()));
        assert!(!policy.allows("10.2.0.1".parse().unwrap()));
        assert!(!policy.allows("127.0.0.1".parse().unwrap()));
    }

    #[test]
    fn an_opened_net_is_not_opened_in_disguise_nor_another_by_it() {
        let open = |nets: &[&str]| {
            AddressPolicy::new(nets.iter().map(|net| net.parse().unwrap()).collect())
        };
        let cases = [
            // A mapped net names the IPv4 net inside it.
            ("::ffff:10.0.0.0/104", "10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "::ffff:10.9.9.9", true),
            ("::ffff:10.0.0.0/104", "11.0.0.1", true),
            ("::ffff:10.0.0.0/104", "192.168.0.1", false),
            // All of IPv6 is not all of IPv4.
            ("::/0", "127.0.0.1", false),
            ("::/0", "::ffff:127.0.0.1", false),
            ("::/0", "::1", true),
            ("10.0.0.0/8", "64:ff9b::a00:1", false),
            ("10.0.0.0/8", "2002:a00:1::1", false),
            ("10.0.0.0/8", "::a00:1", false),
            ("127.0.0.1/32", "127.0.0.2", false),
            ("169.254.169.254/32", "169.254.169.254", true),
            ("fd00::/8", "fc00::1", false),
        ];
        for (net, address, allowed) in cases {
            let found = open(&[net]).allows(address.parse().unwrap());
            assert_eq!(found, allowed, "{address} with {net}");
        }
    }
}
