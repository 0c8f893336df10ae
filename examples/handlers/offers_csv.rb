#!/usr/bin/env ruby
# frozen_string_literal: true

# Appends one row to a CSV file for every finalized freispace offer (quote), for the books or a spreadsheet.
#
#   [destination.offers]
#   type = "command"
#   command = ["/usr/bin/ruby", "/opt/wilco/handlers/offers_csv.rb"]
#   environment = { OFFERS_CSV = "/srv/office/offers.csv" }
#
#   [[route]]
#   from = "freispace"
#   events = ["offer.finalized", "quote.finalized"]   # freispace's pages use both names
#   to = ["offers"]
#
# One event gives one row, however often it is delivered; an offer that is finalized again is a new event and a new row.
# The file is made, with a header, when it is not there; its folder must exist. Ruby 2.7 or newer.

require "csv"
require "json"

EVENTS = %w[offer.finalized quote.finalized].freeze
HEADER = %w[offer_id number date valid_until subject client cost_center currency net gross received_at key].freeze
BAD_DATA = 65     # dead at once: the same bytes would fail again
TRY_LATER = 75
BAD_SETTING = 78  # retried as well, so that nothing is lost once it is set right

def finish(code, message)
  (code.zero? ? $stdout : $stderr).puts(message)
  exit code
end

# A line that no spreadsheet takes for a formula: not at the start of the cell, and not after a semicolon, at
# which a spreadsheet with German settings would cut it in two.
def text(value)
  return nil if value.nil?

  value.to_s.scrub.gsub(/(?:[[:cntrl:]]|[[:space:]])+/, " ").strip.gsub(/(\A|;["' ]*)(?=[=+\-@＝＋－＠])/, "\\1'")
end

# 184050 → "1840.50". Whole numbers all the way: money never passes through a float.
def decimal(cents, name)
  return nil if cents.nil?

  finish BAD_DATA, "#{name} is no whole number of cents" unless cents.is_a?(Integer)
  format("%s%d.%02d", cents.negative? ? "-" : "", *cents.abs.divmod(100))
end

def row(offer, key)
  recipient = offer["recipient"].is_a?(Hash) ? offer["recipient"] : {}
  client = recipient["address"].to_s.scrub.strip.lines.first # an address begins with the name
  [
    *[offer["id"], offer["number"], offer["date"], offer["offer_valid_until"], offer["subject"], client,
      offer["cost_center"], offer["currency"]].map { |cell| text(cell) },
    decimal(offer["total_sum_net"], "total_sum_net"), decimal(offer["total_sum_gross"], "total_sum_gross"),
    text(ENV["WILCO_RECEIVED_AT"]), key
  ]
end

# The lock makes look-up and append one step. The key is last in a row, so that a row cut short by a
# power failure does not count as written.
def append(path, cells)
  File.open(path, File::RDWR | File::CREAT | File::APPEND, 0o640, encoding: "UTF-8") do |file|
    file.flock(File::LOCK_EX)
    file.sync = true # a full disk shows at the write, not at the close
    last_line = nil
    return false if file.each_line.any? { |line| (last_line = line).include?(cells.last) }

    size = file.size
    lines = size.zero? ? CSV.generate_line(HEADER) : ""
    lines += "\n" unless last_line.nil? || last_line.end_with?("\n")
    begin
      file.write(lines + CSV.generate_line(cells))
      file.fsync
    rescue SystemCallError
      file.truncate(size) # no half row stays behind
      raise
    end
  end
  true
end

body = $stdin.binmode.read.force_encoding(Encoding::UTF_8) # the clean environment names no locale
event = ENV.fetch("WILCO_EVENT", "")
finish 0, "nothing to do for #{event}" unless EVENTS.include?(event)

begin
  offer = JSON.parse(body.scrub)
rescue JSON::ParserError
  finish BAD_DATA, "the body is no JSON"
end
offer = offer.is_a?(Hash) ? offer["data"] : nil
finish BAD_DATA, "the body is no freispace offer" unless offer.is_a?(Hash) && offer["id"].is_a?(String)

path = ENV.fetch("OFFERS_CSV", "")
finish BAD_SETTING, "OFFERS_CSV is not set" if path.empty?
key = ENV.fetch("WILCO_EVENT_ID") { "#{text(offer["id"])}/#{event}" } # the latter when tried by hand

begin
  number = text(offer["number"] || offer["id"])
  finish 0, append(path, row(offer, key)) ? "added #{number}" : "#{number} is already there"
rescue SystemCallError, IOError => e
  finish TRY_LATER, e.message
end
