-- SPDX-License-Identifier: GPL-2.0
--
-- Wireshark dissector of MPIP: control messages wherever they travel, the option in SYNs, lanes and
-- what is wrapped in them. The protocol is described in docs/protocol.md of MPIP's source; numbers
-- of sections below are that document's.
--
-- It runs behind all other dissectors and looks at the packet as a whole: no port tells MPIP's
-- packets from others, and what travels below the acknowledged sequence numbers, or behind the UDP
-- length, is shown to nobody else. Tags are not verified: only the two nodes have the keys. What
-- looks like a message in every other way is taken for one.

local mpip = Proto("mpip", "Multipath IP")

local MAGIC, VERSION = 0x4d50, 1
local EXPERIMENT, QUESTION, ANSWER = 253, 0x4d50, 0x4d51
local TCP, UDP, ICMP, ICMP6 = 6, 17, 1, 58
local TAIL = 12 -- tag and footer
local NONE = 0xff

local DATA, REPORT, HELLO, HELLO_REPLY, CONFIRM, OPEN, OPEN_ACK, LANE = 0, 1, 2, 3, 4, 5, 6, 7
local LANE_ACK, LANE_CONFIRM, ADDR, CLOSE, GOODBYE, GOODBYE_ACK, ADDR_ACK, MISSING = 8, 9, 10, 11, 12, 13, 14, 15
local TYPES = {
	[0] = "DATA", "REPORT", "HELLO", "HELLO_REPLY", "CONFIRM", "OPEN", "OPEN_ACK", "LANE",
	"LANE_ACK", "LANE_CONFIRM", "ADDR", "CLOSE", "GOODBYE", "GOODBYE_ACK", "ADDR_ACK", "MISSING",
}
-- Length of the fixed part of each body (section 3).
local BODY = {
	[0] = 20, 40, 64, 64, 64, 16, 16, 56,
	56, 56, 24, 20, 16, 16, 20, 20,
}
local HAS_BLOCK = { [CONFIRM] = true, [OPEN] = true, [OPEN_ACK] = true, [ADDR] = true }
local IS_LANE = { [LANE] = true, [LANE_ACK] = true, [LANE_CONFIRM] = true }

local f = {
	place = ProtoField.string("mpip.place", "Place"),
	magic = ProtoField.uint16("mpip.magic", "Magic", base.HEX),
	version = ProtoField.uint8("mpip.version", "Version", base.DEC, nil, 0xf0),
	type = ProtoField.uint8("mpip.type", "Type", base.DEC, TYPES, 0x0f),
	length = ProtoField.uint16("mpip.length", "Length"),
	tag = ProtoField.bytes("mpip.tag", "Tag"),
	node = ProtoField.uint64("mpip.node", "Node", base.HEX),
	session = ProtoField.uint32("mpip.session", "Session"),
	number = ProtoField.uint32("mpip.number", "Number"),
	-- DATA, REPORT
	path = ProtoField.uint8("mpip.path", "Path"),
	feedback = ProtoField.uint8("mpip.feedback_path", "Feedback path"),
	data = ProtoField.uint16("mpip.data_length", "Length of user data"),
	flags = ProtoField.uint16("mpip.flags", "Flags", base.HEX),
	want = ProtoField.bool("mpip.flags.want", "Wants an answer", 16, nil, 0x0001),
	reserve = ProtoField.bool("mpip.flags.reserve", "Path is a backup", 16, nil, 0x0002),
	timestamp = ProtoField.uint32("mpip.timestamp", "Time stamp (µs)"),
	delay = ProtoField.int32("mpip.delay", "One-way delay of the feedback path (µs)"),
	sent = ProtoField.uint32("mpip.packets_sent", "Packets sent on the path"),
	received = ProtoField.uint32("mpip.packets_received", "Packets received on the feedback path"),
	bytes = ProtoField.uint32("mpip.bytes_received", "Bytes received on the feedback path"),
	answered = ProtoField.uint32("mpip.answered", "Time stamp that is answered"),
	hold = ProtoField.uint32("mpip.hold", "Held before the answer (µs)"),
	-- HELLO, HELLO_REPLY, CONFIRM
	nonce_a = ProtoField.bytes("mpip.nonce_a", "Nonce a"),
	nonce_b = ProtoField.bytes("mpip.nonce_b", "Nonce b"),
	key = ProtoField.bytes("mpip.public_key", "Public key"),
	padding = ProtoField.bytes("mpip.padding", "Padding"),
	-- The open block
	port = ProtoField.uint16("mpip.port", "Own port"),
	original = ProtoField.uint8("mpip.original_path", "Original path"),
	entries = ProtoField.uint8("mpip.entries", "Addresses"),
	entry = ProtoField.none("mpip.entry", "Address"),
	family = ProtoField.uint8("mpip.entry.family", "Family"),
	seen = ProtoField.bool("mpip.entry.seen", "Where the addressee is seen", 8, nil, 0x01),
	entry_port = ProtoField.uint16("mpip.entry.port", "Port"),
	ipv4 = ProtoField.ipv4("mpip.entry.ipv4", "Address"),
	ipv6 = ProtoField.ipv6("mpip.entry.ipv6", "Address"),
	-- LANE, LANE_ACK, LANE_CONFIRM
	challenge = ProtoField.bytes("mpip.challenge", "Challenge"),
	echo = ProtoField.bytes("mpip.echo", "Challenge that is answered"),
	observed = ProtoField.uint32("mpip.observed.family", "Family observed"),
	observed_port = ProtoField.uint16("mpip.observed.port", "Port observed"),
	observed4 = ProtoField.ipv4("mpip.observed.ipv4", "Address observed"),
	observed6 = ProtoField.ipv6("mpip.observed.ipv6", "Address observed"),
	-- ADDR, ADDR_ACK, CLOSE, MISSING
	down = ProtoField.uint64("mpip.paths_down", "Paths that are down", base.HEX),
	acked = ProtoField.uint32("mpip.acked", "Number of the ADDR"),
	reset = ProtoField.uint32("mpip.reset", "Sequence number of the reset"),
	refused = ProtoField.bool("mpip.missing.refused", "Will not be sent again"),
	parts = ProtoField.uint8("mpip.missing.parts", "Parts"),
	first = ProtoField.uint32("mpip.missing.first", "First sequence number missing"),
	behind = ProtoField.uint32("mpip.missing.behind", "Sequence number behind the last"),
	-- Around messages
	option = ProtoField.uint16("mpip.option", "Option", base.HEX, { [QUESTION] = "question", [ANSWER] = "answer" }),
	nonce = ProtoField.bytes("mpip.option.nonce", "Nonce"),
	pad = ProtoField.uint8("mpip.surplus.pad", "Pad"),
	compensator = ProtoField.uint16("mpip.surplus.compensator", "Compensator", base.HEX),
	compensated = ProtoField.bool("mpip.surplus.compensated", "Sum is 0"),
	zero = ProtoField.uint16("mpip.surplus.zero", "End of options", base.HEX),
	-- Lanes
	lane = ProtoField.string("mpip.lane", "Lane"),
	inner_proto = ProtoField.string("mpip.inner.protocol", "Inside"),
	inner_seq = ProtoField.uint32("mpip.inner.seq", "Sequence number"),
	inner_ack = ProtoField.uint32("mpip.inner.ack", "Acknowledgement number"),
	inner_header = ProtoField.uint16("mpip.inner.header_length", "Header length"),
	inner_flags = ProtoField.uint8("mpip.inner.flags", "Flags", base.HEX),
	inner_window = ProtoField.uint16("mpip.inner.window", "Window"),
	inner_urgent = ProtoField.uint16("mpip.inner.urgent", "Urgent pointer"),
	inner_checksum = ProtoField.uint16("mpip.inner.checksum", "Checksum, which means nothing", base.HEX),
	inner_options = ProtoField.bytes("mpip.inner.options", "Options"),
	inner_length = ProtoField.uint16("mpip.inner.length", "UDP length"),
	inner_data = ProtoField.uint32("mpip.inner.data_length", "Bytes of user data"),
}
mpip.fields = f

local malformed = ProtoExpert.new("mpip.malformed", "Not as the protocol has it", expert.group.MALFORMED, expert.severity.WARN)
mpip.experts = { malformed }

local ip4_headers, ip6_headers = Field.new("ip.version"), Field.new("ipv6.version")

-- What earlier packets told: lists for each tuple of { frame, session, way }, the protocol of each
-- session.
local tuples, sessions = {}, {}

function mpip.init()
	tuples, sessions = {}, {}
end

-- The same for both directions.
local function tuple_of(packet)
	local ends = { packet.source, packet.destination }
	table.sort(ends)
	return packet.protocol .. " " .. ends[1] .. " " .. ends[2]
end

local function learn(packet, session, way)
	local key = tuple_of(packet)
	local known = tuples[key] or {}
	tuples[key] = known
	local last = known[#known]
	if not last or last.session ~= session or last.way ~= way then
		known[#known + 1] = { frame = packet.frame, session = session, way = way }
	end
end

-- What was known of the packet's tuple when it came.
local function lane_of(packet)
	local found
	for _, lane in ipairs(tuples[tuple_of(packet)] or {}) do
		if lane.frame <= packet.frame then
			found = lane
		end
	end
	return found
end

-- One transport header behind an IP header that begins at `offset`; nil if it is none of ours.
local function transport(tvb, offset, six)
	local captured = tvb:len()
	local header, stop, protocol, addresses
	if six then
		header, protocol, addresses = 40, tvb(offset + 6, 1):uint(), 16
		stop = offset + 40 + tvb(offset + 4, 2):uint()
		if stop == offset + 40 then
			stop = captured
		end
	else
		header, protocol, addresses = tvb(offset, 1):bitfield(4, 4) * 4, tvb(offset + 9, 1):uint(), 4
		stop = offset + tvb(offset + 2, 2):uint()
		if stop == offset then
			stop = captured -- a segment that is still to be cut
		end
		if tvb(offset + 6, 2):bitfield(2, 14) ~= 0 then
			return nil -- a fragment
		end
	end
	local at = offset + header
	if stop > captured or (protocol ~= TCP and protocol ~= UDP) or at + (protocol == TCP and 20 or 8) > stop then
		return nil, protocol
	end
	local source = tvb(offset + (six and 8 or 12), addresses):bytes():tohex()
	local destination = tvb(offset + (six and 24 or 16), addresses):bytes():tohex()
	local packet = {
		protocol = protocol,
		at = at,
		stop = stop,
		source = source .. ":" .. tvb(at, 2):uint(),
		destination = destination .. ":" .. tvb(at + 2, 2):uint(),
	}
	if protocol == TCP then
		packet.payload = at + tvb(at + 12, 1):bitfield(0, 4) * 4
		packet.behind = stop
		packet.syn = tvb(at + 13, 1):bitfield(6, 1) == 1
	else
		packet.payload = at + 8
		packet.behind = at + math.max(tvb(at + 4, 2):uint(), 8)
		if tvb(at + 4, 2):uint() == 0 then
			packet.behind = stop
		end
	end
	if packet.payload > packet.behind or packet.behind > stop then
		return nil, protocol
	end
	return packet, protocol
end

-- Length of the message that ends at `stop`, nil if none does. The footer says it (section 5).
local function message_length(tvb, first, stop)
	if stop - first < TAIL or tvb(stop - 4, 2):uint() ~= MAGIC then
		return nil
	end
	local kind, length = tvb(stop - 2, 1):uint(), tvb(stop - 1, 1):uint() * 4
	local type = kind % 16
	local body = length - TAIL - BODY[type]
	if math.floor(kind / 16) ~= VERSION or length > stop - first or length > 400 then
		return nil
	end
	local begin = stop - length
	if HAS_BLOCK[type] then
		return body >= 4 and length or nil
	elseif type == MISSING then
		local parts = body >= 0 and tvb(begin + 17, 1):uint() or 0
		return body == parts * 8 and length or nil
	end
	return body == 0 and length or nil
end

local function address(tree, tvb, at, family, four, six)
	if family == 4 then
		tree:add(four, tvb(at, 4))
	elseif family == 6 then
		tree:add(six, tvb(at, 16))
	end
end

-- Section 3.5.
local function open_block(tree, tvb, at, stop)
	tree:add(f.port, tvb(at, 2))
	local original = tree:add(f.original, tvb(at + 2, 1))
	if tvb(at + 2, 1):uint() == NONE then
		original:append_text(" (none)")
	end
	tree:add(f.entries, tvb(at + 3, 1))
	local left = tvb(at + 3, 1):uint()
	at = at + 4
	while left > 0 and at + 8 <= stop do
		local family = tvb(at, 1):uint()
		local size = family == 4 and 4 or family == 6 and 16
		if not size or at + 4 + size > stop then
			break
		end
		local entry = tree:add(f.entry, tvb(at, 4 + size))
		entry:add(f.family, tvb(at, 1))
		entry:add(f.seen, tvb(at + 1, 1))
		entry:add(f.entry_port, tvb(at + 2, 2))
		address(entry, tvb, at + 4, family, f.ipv4, f.ipv6)
		local value = tvb(at + 4, size)
		entry:append_text(": " .. tostring(family == 4 and value:ipv4() or value:ipv6()))
		at, left = at + 4 + size, left - 1
	end
	if left > 0 or at ~= stop then
		tree:add_proto_expert_info(malformed, "the list of addresses has another length than it says")
	end
end

-- Section 3.1 and 3.2.
local function measurement(tree, tvb, at, type)
	tree:add(f.session, tvb(at, 4))
	tree:add(f.path, tvb(at + 4, 1))
	local feedback = tree:add(f.feedback, tvb(at + 5, 1))
	if tvb(at + 5, 1):uint() == NONE then
		feedback:append_text(" (none)")
	end
	if type == DATA then
		tree:add(f.data, tvb(at + 6, 2))
	else
		local flags = tree:add(f.flags, tvb(at + 6, 2))
		flags:add(f.want, tvb(at + 6, 2))
		flags:add(f.reserve, tvb(at + 6, 2))
	end
	tree:add(f.timestamp, tvb(at + 8, 4))
	tree:add(f.delay, tvb(at + 12, 4))
	tree:add(f.number, tvb(at + 16, 4))
	if type == REPORT then
		tree:add(f.sent, tvb(at + 20, 4))
		tree:add(f.received, tvb(at + 24, 4))
		tree:add(f.bytes, tvb(at + 28, 4))
		tree:add(f.answered, tvb(at + 32, 4))
		tree:add(f.hold, tvb(at + 36, 4))
	end
	return tvb(at, 4):uint()
end

-- Section 3.4.
local function exchange(tree, tvb, at, type)
	tree:add(f.nonce_a, tvb(at + 16, 8))
	if type == HELLO then
		tree:add(f.padding, tvb(at + 24, 40))
	else
		tree:add(f.nonce_b, tvb(at + 24, 8))
		tree:add(f.key, tvb(at + 32, 32))
	end
end

-- Section 3.6.
local function lane_body(tree, tvb, at)
	tree:add(f.path, tvb(at + 16, 1))
	tree:add(f.observed_port, tvb(at + 18, 2))
	tree:add(f.challenge, tvb(at + 20, 8))
	tree:add(f.echo, tvb(at + 28, 8))
	tree:add(f.observed, tvb(at + 36, 4))
	address(tree, tvb, at + 40, tvb(at + 36, 4):uint(), f.observed4, f.observed6)
end

-- Section 3.8.
local function missing(tree, tvb, at, stop)
	tree:add(f.refused, tvb(at + 16, 1), tvb(at + 16, 1):uint() == 1)
	tree:add(f.parts, tvb(at + 17, 1))
	for part = at + 20, stop - 8, 8 do
		tree:add(f.first, tvb(part, 4))
		tree:add(f.behind, tvb(part + 4, 4))
	end
end

-- The message of this length that ends at `stop`. Returns its type and session.
local function message(tree, tvb, stop, length, place)
	local begin = stop - length
	local type = tvb(stop - 2, 1):uint() % 16
	local cm = tree:add(mpip, tvb(begin, length), "MPIP " .. TYPES[type])
	cm:add(f.place, place):set_generated()
	local behind = stop - TAIL
	local session
	if type == DATA or type == REPORT then
		session = measurement(cm, tvb, begin, type)
	else
		cm:add(f.node, tvb(begin, 8))
		cm:add(f.session, tvb(begin + 8, 4))
		cm:add(f.number, tvb(begin + 12, 4))
		session = tvb(begin + 8, 4):uint()
	end
	if type == HELLO or type == HELLO_REPLY or type == CONFIRM then
		exchange(cm, tvb, begin, type)
	elseif IS_LANE[type] then
		lane_body(cm, tvb, begin)
	elseif type == ADDR then
		cm:add(f.down, tvb(begin + 16, 8))
	elseif type == ADDR_ACK then
		cm:add(f.acked, tvb(begin + 16, 4))
	elseif type == CLOSE then
		cm:add(f.reset, tvb(begin + 16, 4))
	elseif type == MISSING then
		missing(cm, tvb, begin, behind)
	end
	if HAS_BLOCK[type] then
		open_block(cm, tvb, begin + BODY[type], behind)
	end
	cm:add(f.tag, tvb(behind, 8))
	cm:add(f.magic, tvb(stop - 4, 2))
	cm:add(f.version, tvb(stop - 2, 1))
	cm:add(f.type, tvb(stop - 2, 1))
	cm:add(f.length, tvb(stop - 1, 1), length)
	return type, session
end

-- The one's complement sum of some bytes and a number, folded.
local function sum(tvb, at, stop, total)
	while at < stop do
		total = total + (at + 1 < stop and tvb(at, 2):uint() or tvb(at, 1):uint() * 256)
		at = at + 2
	end
	while total > 0xffff do
		total = total % 0x10000 + math.floor(total / 0x10000)
	end
	return total
end

-- What stands before the message in the surplus area (section 4.3); false if it is another kind of
-- surplus.
local function surplus(packet, tvb, length)
	local first, cm = packet.behind, packet.stop - length
	local pad = (packet.behind - packet.at) % 2
	return cm - first == pad + 4
		and tvb(cm - 2, 2):uint() == 0
		and (pad == 0 or tvb(first, 1):uint() == 0)
end

local function surplus_head(tree, packet, tvb, length)
	local first, cm = packet.behind, packet.stop - length
	local area = tree:add(mpip, tvb(first, packet.stop - first), "MPIP, surplus area")
	if cm - first == 5 then
		area:add(f.pad, tvb(first, 1))
	end
	area:add(f.compensator, tvb(cm - 4, 2))
	local whole = sum(tvb, cm - 4, packet.stop, packet.stop - first)
	local good = area:add(f.compensated, tvb(cm - 4, 2), whole == 0xffff)
	good:set_generated()
	if whole ~= 0xffff then
		good:add_proto_expert_info(malformed, "the surplus area does not add up to 0")
	end
	area:add(f.zero, tvb(cm - 2, 2))
	return area
end

-- Section 4.1. Returns what it is, or nil.
local function syn_option(tree, packet, tvb)
	local at = packet.at + 20
	while at < packet.payload do
		local kind = tvb(at, 1):uint()
		if kind == 0 then
			return nil
		end
		local length = 1
		if kind ~= 1 then
			if at + 2 > packet.payload then
				return nil
			end
			length = tvb(at + 1, 1):uint()
			if length < 2 or at + length > packet.payload then
				return nil
			end
		end
		if kind == EXPERIMENT and length == 12 then
			local what = tvb(at + 2, 2):uint()
			if what == QUESTION or what == ANSWER then
				local name = what == QUESTION and "question" or "answer"
				local option = tree:add(mpip, tvb(at, 12), "MPIP option, " .. name)
				option:add(f.option, tvb(at + 2, 2))
				option:add(f.nonce, tvb(at + 4, 8))
				return name
			end
		end
		at = at + length
	end
	return nil
end

-- A packet of another protocol inside a lane's (section 4.5): its ports are replaced by the
-- session.
local function wrapped(tree, packet, tvb, lane)
	local at, size = packet.payload, packet.behind - packet.payload
	local inside = sessions[lane.session]
	if not inside then
		-- Who has not seen the session begin sees its protocol by the length that a datagram says.
		inside = packet.protocol == TCP and size >= 8 and tvb(at + 4, 2):uint() == size and UDP or TCP
	end
	local header = 8
	if inside == TCP then
		header = size >= 20 and tvb(at + 12, 1):bitfield(0, 4) * 4 or 20
	end
	if size < header or header < 8 then
		return nil
	end
	local name = inside == TCP and "TCP" or "UDP"
	local outer = packet.protocol == TCP and "TCP" or "UDP"
	local inner = tree:add(mpip, tvb(at, header), "MPIP, " .. name .. " in " .. outer)
	inner:add(f.session, tvb(at, 4))
	inner:add(f.inner_proto, name):set_generated()
	if inside == TCP then
		inner:add(f.inner_seq, tvb(at + 4, 4))
		inner:add(f.inner_ack, tvb(at + 8, 4))
		inner:add(f.inner_header, tvb(at + 12, 1), header)
		inner:add(f.inner_flags, tvb(at + 13, 1))
		inner:add(f.inner_window, tvb(at + 14, 2))
		inner:add(f.inner_checksum, tvb(at + 16, 2))
		inner:add(f.inner_urgent, tvb(at + 18, 2))
		if header > 20 then
			inner:add(f.inner_options, tvb(at + 20, header - 20))
		end
	else
		inner:add(f.inner_length, tvb(at + 4, 2))
		inner:add(f.inner_checksum, tvb(at + 6, 2))
	end
	inner:add(f.inner_data, size - header):set_generated()
	return name .. " in " .. outer
end

-- What a message says of the tuple it travels on.
local function learn_from(packet, type, session)
	local known = lane_of(packet)
	known = known and known.session == session and known.way
	if type == OPEN or type == OPEN_ACK or type == CONFIRM then
		-- Once there are lanes, these may travel there as well.
		if not known then
			sessions[session] = packet.protocol
			learn(packet, session, "original")
		end
	elseif IS_LANE[type] then
		local way = "raw"
		if packet.protocol == TCP then
			if packet.syn or known == "tcp" then
				way = "tcp"
			end
		elseif sessions[session] == TCP then
			way = "udp"
		end
		learn(packet, session, way)
	end
end

-- One packet inside the frame. Returns what to say of it in the list, or nil.
local function dissect(tree, packet, tvb, visited)
	local said = {}
	if packet.protocol == TCP and packet.syn then
		local option = syn_option(tree, packet, tvb)
		said[1] = option and "option, " .. option
	end
	local length, place
	if packet.protocol == UDP and packet.behind < packet.stop then
		length = message_length(tvb, packet.behind, packet.stop)
		if length and surplus(packet, tvb, length) then
			place, tree = "surplus area", surplus_head(tree, packet, tvb, length)
		end
	elseif packet.payload < packet.behind then
		length = message_length(tvb, packet.payload, packet.behind)
		if length then
			place = length == packet.behind - packet.payload and "alone" or "behind data"
		end
	end
	if place then
		local stop = place == "surplus area" and packet.stop or packet.behind
		local type, session = message(tree, tvb, stop, length, place)
		if not visited then
			learn_from(packet, type, session)
		end
		said[#said + 1] = TYPES[type]
	end
	local lane = lane_of(packet)
	if lane then
		local note = tree:add(mpip, "MPIP, session " .. lane.session .. ", lane " .. lane.way)
		note:add(f.session, lane.session):set_generated()
		note:add(f.lane, lane.way):set_generated()
		-- Whose session was not seen to begin may be inside UDP as well.
		local unknown = packet.protocol == UDP and lane.way == "raw" and not sessions[lane.session]
		local is_wrapped = lane.way == "udp" or lane.way == "tcp" or unknown
		local size = packet.behind - packet.payload
		if is_wrapped and place ~= "alone" and size >= 8 and tvb(packet.payload, 4):uint() == lane.session then
			said[#said + 1] = wrapped(note, packet, tvb, lane)
		end
	end
	return #said > 0 and table.concat(said, ", ") or nil
end

function mpip.dissector(tvb, pinfo, tree)
	local headers = {}
	for _, header in ipairs({ ip4_headers() }) do
		headers[#headers + 1] = { offset = header.offset, six = false }
	end
	for _, header in ipairs({ ip6_headers() }) do
		headers[#headers + 1] = { offset = header.offset, six = true }
	end
	table.sort(headers, function(a, b)
		return a.offset < b.offset
	end)
	for _, header in ipairs(headers) do
		if header.offset + (header.six and 40 or 20) > tvb:len() then
			return
		end
		local packet, protocol = transport(tvb, header.offset, header.six)
		-- What an error quotes was told before.
		if protocol == ICMP or protocol == ICMP6 then
			return
		end
		if packet then
			packet.frame = pinfo.number
			local said = dissect(tree, packet, tvb, pinfo.visited)
			if said then
				pinfo.cols.protocol = "MPIP"
				pinfo.cols.info:prepend("[" .. said .. "] ")
			end
		end
	end
end

register_postdissector(mpip)
