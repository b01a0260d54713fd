//! Writes tiny MMDB databases (`MaxMind` DB File Format Specification 2.0).

use std::net::IpAddr;

/// A value of a record.
pub(crate) enum Value<'a> {
    Text(&'a str),
    Short(u16),
    Number(u32),
    Long(u64),
    Map(Vec<(&'a str, Value<'a>)>),
    EmptyList,
}

/// A database with a record for each network. IPv4 networks are stored in the first 2^32 addresses of IPv6.
pub(crate) fn database(networks: &[(&str, Value<'_>)]) -> Vec<u8> {
    let mut tree = vec![[Record::Empty; 2]];
    let mut data = Vec::new();
    for (network, value) in networks {
        let offset = data.len();
        write(value, &mut data);
        insert(&mut tree, network, offset);
    }
    let count = tree.len();
    let mut file = Vec::new();
    for record in tree.into_iter().flatten() {
        let number = match record {
            Record::Empty => count,
            Record::Node(node) => node,
            Record::Data(offset) => count + 16 + offset,
        };
        file.extend(&u32::try_from(number).expect("it is tiny").to_be_bytes()[1..]);
    }
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    write(&metadata(count), &mut file);
    file
}

#[derive(Clone, Copy)]
enum Record {
    Empty,
    Node(usize),
    Data(usize),
}

fn metadata(nodes: usize) -> Value<'static> {
    Value::Map(vec![
        ("node_count", Value::Number(u32::try_from(nodes).expect("it is tiny"))),
        ("record_size", Value::Short(24)),
        ("ip_version", Value::Short(6)),
        ("database_type", Value::Text("Test")),
        ("binary_format_major_version", Value::Short(2)),
        ("binary_format_minor_version", Value::Short(0)),
        ("languages", Value::EmptyList),
        ("description", Value::Map(Vec::new())),
        ("build_epoch", Value::Long(1)),
    ])
}

fn insert(tree: &mut Vec<[Record; 2]>, network: &str, offset: usize) {
    let (address, length) = network.split_once('/').expect("a network");
    let length: u32 = length.parse().expect("a length");
    let (bits, length) = match address.parse().expect("an address") {
        IpAddr::V4(address) => (u128::from(address.to_bits()), length + 96),
        IpAddr::V6(address) => (address.to_bits(), length),
    };
    let mut node = 0;
    for depth in 0..length {
        let side = usize::from(bits >> (127 - depth) & 1 == 1);
        if depth + 1 == length {
            tree[node][side] = Record::Data(offset);
        } else if let Record::Node(next) = tree[node][side] {
            node = next;
        } else {
            tree.push([Record::Empty; 2]);
            tree[node][side] = Record::Node(tree.len() - 1);
            node = tree.len() - 1;
        }
    }
}

fn write(value: &Value<'_>, out: &mut Vec<u8>) {
    let head = |kind: u8, size: usize| kind << 5 | u8::try_from(size).expect("sizes are below 29");
    match value {
        Value::Text(text) => {
            out.push(head(2, text.len()));
            out.extend(text.bytes());
        }
        Value::Short(number) => {
            out.push(head(5, 2));
            out.extend(number.to_be_bytes());
        }
        Value::Long(number) => {
            // An extended type: the second byte is the type less seven.
            out.extend([head(0, 8), 9 - 7]);
            out.extend(number.to_be_bytes());
        }
        Value::Number(number) => {
            out.push(head(6, 4));
            out.extend(number.to_be_bytes());
        }
        Value::EmptyList => out.extend([head(0, 0), 11 - 7]),
        Value::Map(entries) => {
            out.push(head(7, entries.len()));
            for (key, value) in entries {
                write(&Value::Text(key), out);
                write(value, out);
            }
        }
    }
}
