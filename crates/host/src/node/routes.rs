//! Routes of the network, asked of the kernel by rtnetlink: `/proc` tells of IPv4 only, and not how
//! they came to be.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use rustix::io::Errno;

use super::{
    Failure,
    background::Source,
    rtnetlink::{attributes, dump, links, word16, word32},
};
use crate::{file::Buffer, parse, series::Family, sheet::Sheet};

const INFO: Family<'_> = Family::gauge("node_network_route_info", "network routing table information");
const ROUTES: Family<'_> = Family::gauge("node_network_routes", "network routes by interface");

const GET_ROUTE: u16 = 26;
/// Bytes of a route before its attributes, and of one of its next hops.
const ROUTE_BYTES: usize = 12;
const HOP_BYTES: usize = 8;
/// The only kind of route that leads somewhere.
const UNICAST: u8 = 1;
const DESTINATION: u16 = 1;
const INTERFACE: u16 = 4;
const GATEWAY: u16 = 5;
const PRIORITY: u16 = 6;
const SOURCE: u16 = 7;
const HOPS: u16 = 9;
/// More than this many are no routes of a node: a router holds all of the Internet's.
const ROUTES_MAX: usize = 8192;

/// The unicast routes of all tables.
pub(super) struct Routes;

/// A way to a destination.
#[derive(Debug, Clone, Default, PartialEq)]
struct Route {
    interface: u32,
    source: String,
    destination: String,
    gateway: String,
    priority: u32,
    protocol: &'static str,
    weight: String,
}

impl Source for Routes {
    fn name(&self) -> &'static str {
        "network_route"
    }

    fn read(&mut self, sheet: &mut Sheet, _: &mut Buffer) -> Result<(), Failure> {
        let links = links().map_err(Failure::at("rtnetlink"))?;
        let (mut found, mut of_message, mut all) = (Vec::new(), Vec::new(), 0);
        let mut counts = BTreeMap::<&str, u64>::new();
        dump(GET_ROUTE, |message| {
            add(message, &mut of_message);
            for route in of_message.drain(..) {
                all += 1;
                if let Some(device) = links.get(&route.interface) {
                    *counts.entry(device).or_default() += 1;
                }
                if found.len() < ROUTES_MAX {
                    found.push(route);
                }
            }
        })
        .map_err(Failure::at("rtnetlink"))?;
        for route in &found {
            let Some(device) = links.get(&route.interface) else { continue };
            let labels = [
                ("device", device.as_str()),
                ("src", &route.source),
                ("dest", &route.destination),
                ("gw", &route.gateway),
                ("priority", &route.priority.to_string()),
                ("proto", route.protocol),
                ("weight", &route.weight),
            ];
            sheet.put(INFO, &labels, 1.0);
        }
        for (device, routes) in counts {
            sheet.put(ROUTES, &[("device", device)], parse::value(routes));
        }
        // They were counted, but not all were told one by one.
        if all > ROUTES_MAX {
            return Err(Failure::at("rtnetlink")(Errno::OVERFLOW));
        }
        Ok(())
    }
}

/// Adds what a message tells: a route, or one for each of its next hops.
fn add(message: &[u8], out: &mut Vec<Route>) {
    let Some(head) = message.get(..ROUTE_BYTES) else { return };
    if head[7] != UNICAST {
        return;
    }
    let mut route = Route { protocol: protocol(head[5]), ..Route::default() };
    let (prefix, mut hops, mut destination) = (head[1], None, None);
    for (kind, value) in attributes(&message[ROUTE_BYTES..]) {
        match kind {
            DESTINATION => destination = address(value),
            SOURCE => route.source = text(value),
            GATEWAY => route.gateway = text(value),
            INTERFACE => route.interface = word32(value, 0).unwrap_or(0),
            PRIORITY => route.priority = word32(value, 0).unwrap_or(0),
            HOPS => hops = Some(value),
            _ => {}
        }
    }
    route.destination = match destination {
        Some(address) if prefix > 0 => format!("{address}/{prefix}"),
        _ => "default".to_owned(),
    };
    let Some(mut rest) = hops else { return out.push(route) };
    // A next hop: its length, its flags, its weight less one, its interface, and attributes.
    while let (Some(length), Some(interface)) = (word16(rest, 0), word32(rest, 4)) {
        let Some(own) = rest.get(HOP_BYTES..usize::from(length)) else { return };
        let gateway = attributes(own).find(|(kind, _)| *kind == GATEWAY).map(|(_, value)| text(value));
        out.push(Route {
            interface,
            gateway: gateway.unwrap_or_default(),
            weight: (u32::from(rest[3]) + 1).to_string(),
            ..route.clone()
        });
        rest = rest.get(usize::from(length).next_multiple_of(4)..).unwrap_or_default();
    }
}

fn address(value: &[u8]) -> Option<IpAddr> {
    if let Ok(bytes) = <[u8; 4]>::try_from(value) {
        return Some(Ipv4Addr::from(bytes).into());
    }
    <[u8; 16]>::try_from(value).ok().map(|bytes| Ipv6Addr::from(bytes).into())
}

fn text(value: &[u8]) -> String {
    address(value).map(|address| address.to_string()).unwrap_or_default()
}

/// Who made a route, by the numbers that the kernel and routing programs have agreed on.
fn protocol(number: u8) -> &'static str {
    match number {
        0 => "unspec",
        1 => "redirect",
        2 => "kernel",
        3 => "boot",
        4 => "static",
        8 => "gated",
        9 => "ra",
        10 => "mrt",
        11 => "zebra",
        12 => "bird",
        13 => "dnrouted",
        14 => "xorp",
        15 => "ntk",
        16 => "dhcp",
        17 => "mrouted",
        18 => "keepalived",
        42 => "babel",
        186 => "bgp",
        187 => "isis",
        188 => "ospf",
        189 => "rip",
        192 => "eigrp",
        _ => "unknown",
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::node::{rtnetlink::tests::attribute, tests::told};

    fn message(prefix: u8, protocol: u8, kind: u8, attributes: &[Vec<u8>]) -> Vec<u8> {
        let mut out = vec![0; ROUTE_BYTES];
        [out[1], out[5], out[7]] = [prefix, protocol, kind];
        out.extend(attributes.concat());
        out
    }

    fn routes(message: &[u8]) -> Vec<Route> {
        let mut out = Vec::new();
        add(message, &mut out);
        out
    }

    #[test]
    fn routes_are_read_out_of_their_messages() {
        let interface = |n: u32| attribute(INTERFACE, &n.to_ne_bytes());
        let by_gateway =
            [attribute(GATEWAY, &[10, 0, 0, 1]), interface(2), attribute(PRIORITY, &100u32.to_ne_bytes())];
        let expected = Route {
            interface: 2,
            destination: "default".into(),
            gateway: "10.0.0.1".into(),
            priority: 100,
            protocol: "dhcp",
            ..Route::default()
        };
        assert_eq!(routes(&message(0, 16, UNICAST, &by_gateway)), [expected]);
        assert_eq!(routes(&message(0, 16, 2, &by_gateway)), [], "one to this machine itself");

        let mut net = [0; 16];
        net[..2].copy_from_slice(&[0xfd, 0]);
        let direct = [attribute(DESTINATION, &net), interface(3), attribute(SOURCE, &[10, 0, 0, 7])];
        let found = routes(&message(64, 2, UNICAST, &direct));
        assert_eq!((found[0].destination.as_str(), found[0].source.as_str()), ("fd00::/64", "10.0.0.7"));
        assert_eq!((found[0].protocol, found[0].weight.as_str()), ("kernel", ""));
    }

    #[test]
    fn each_next_hop_is_a_route_with_its_weight() {
        let hop = |interface: u32, weight: u8, last: u8| {
            let gateway = attribute(GATEWAY, &[10, 0, 0, last]);
            let mut out = vec![(HOP_BYTES + gateway.len()) as u8, 0, 0, weight - 1];
            out.extend(interface.to_ne_bytes());
            out.extend(gateway);
            out
        };
        let hops = attribute(HOPS, &[hop(2, 1, 1), hop(3, 5, 2)].concat());
        let found = routes(&message(8, 12, UNICAST, &[attribute(DESTINATION, &[10, 0, 0, 0]), hops]));
        let told: Vec<_> = found
            .iter()
            .map(|r| (r.interface, r.destination.as_str(), r.gateway.as_str(), r.weight.as_str(), r.protocol))
            .collect();
        assert_eq!(
            told,
            [(2, "10.0.0.0/8", "10.0.0.1", "1", "bird"), (3, "10.0.0.0/8", "10.0.0.2", "5", "bird")]
        );
    }

    #[test]
    fn this_kernel_answers() {
        let samples = told(&mut Routes).unwrap();
        let infos = samples.keys().filter(|s| s.starts_with("node_network_route_info")).count();
        let counted: f64 =
            samples.iter().filter(|(s, _)| s.starts_with("node_network_routes")).map(|(_, n)| n).sum();
        assert!(infos as f64 <= counted, "{samples:?}");
    }

    proptest! {
        #[test]
        fn garbage_does_no_harm(mut bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(kind) = bytes.get_mut(7) {
                *kind = UNICAST;
            }
            let _ = routes(&bytes);
        }
    }
}
