"""The words of a statement's page, in each language; and how that language writes numbers, dates and durations."""

from dataclasses import dataclass
from datetime import date, datetime
from typing import Final, Literal

Language = Literal["en", "id"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Texts:
    """Every text of the page. Braces hold what is filled in; texts in pairs are for one and for any other count."""

    title: str
    organisation: str
    contact: str
    period: str
    feed: str
    sink: str
    releases: str
    made: str
    so_far: str

    shadow: str
    stuck: tuple[str, str]
    open_unblocks: tuple[str, str]

    numbers: tuple[str, str]
    numbers_and_ranges: tuple[str, str]
    blocked: str
    would_be_blocked: str
    lifted: tuple[str, str]
    would_be_lifted: tuple[str, str]
    nothing_to_block: str
    within: str
    half_within: str
    the_rest: str
    carried_over: tuple[str, str]

    outcomes: str
    operations: dict[str, str]
    figures: dict[str, str]
    half_done: str
    most_done: str
    lifted_too: str
    explanations: dict[str, str]
    times_note: str

    by_day: str
    day: str
    blocked_short: str
    lifted_short: str
    chart: str
    chart_table: str

    by_category: str
    category: str
    categories: dict[str, str]
    category_blocked: str
    category_lifted: str
    waiting: str
    total: str

    reasons: str
    reason: str
    change: str
    outcome: str
    count: str
    kinds: dict[str, str]
    refused: str
    set_aside: str
    no_reason: str
    other_reasons: str

    notes: str
    receipts_done: str
    receipts_waiting: tuple[str, str]
    receipts_refused: tuple[str, str]
    repairs: tuple[str, str]
    own_decisions: tuple[str, str]

    signature: str
    place_and_date: str
    name_and_position: str
    signed: str

    months: tuple[str, ...]
    thousands: str
    decimal: str
    percent: str
    over_99: str
    under_1: str
    moment: str
    one_day: str
    days: str
    units: tuple[str, str, str, str]

    def number(self, value: int) -> str:
        """A number, with its thousands apart."""
        return f"{value:,}".replace(",", self.thousands)

    def counted(self, count: int, texts: tuple[str, str]) -> str:
        """The text for a count, with the count filled in."""
        return texts[0 if count == 1 else 1].format(n=self.number(count))

    def share(self, part: int, whole: int) -> str:
        """A share as a whole percentage; never all or nothing unless it is. `whole` is not 0."""
        percent = (200 * part + whole) // (2 * whole)
        if percent == 100 and part < whole:
            return self.over_99
        return self.under_1 if percent == 0 < part else self.percent.format(percent)

    def month_of(self, year: int, month: int) -> str:
        """A month and its year."""
        return f"{self.months[month - 1]} {year}"

    def day_of(self, day: date) -> str:
        """A date."""
        return f"{day.day} {self.month_of(day.year, day.month)}"

    def span(self, first: date, last: date) -> str:
        """Days of one month."""
        text = self.one_day if first == last else self.days
        return text.format(first=first.day, date=self.day_of(last))

    def moment_of(self, moment: datetime) -> str:
        """A moment, to the minute; it must be in UTC."""
        return self.moment.format(date=self.day_of(moment.date()), hour=moment.hour, minute=moment.minute)

    def duration(self, seconds: float | None) -> str:
        """A duration, for people to read."""
        if seconds is None:
            return "–"
        day, hour, minute, second = (f"\N{NO-BREAK SPACE}{unit}" for unit in self.units)
        if 0 < seconds < 9.95:
            return f"{seconds:.1f}".replace(".", self.decimal) + second
        if seconds < 59.5:
            return f"{seconds:.0f}{second}"
        whole = round(seconds)
        if whole < 3600:
            return f"{whole // 60}{minute} {whole % 60}{second}" if whole % 60 else f"{whole // 60}{minute}"
        parts = ((whole // 86_400, day), (whole % 86_400 // 3600, hour), (whole % 3600 // 60, minute))
        first = 0 if whole >= 86_400 else 1
        return " ".join(f"{count}{unit}" for count, unit in parts[first : first + 2] if count)


_ENGLISH: Final = Texts(
    title="Monthly statement: {month}",
    organisation="Organisation",
    contact="Contact",
    period="Period",
    feed="Feed",
    sink="Sink",
    releases="Releases",
    made="Made on",
    so_far="{days}, the month so far",
    shadow="This sink is a shadow: it only recorded what would have been done. None of it has happened.",
    stuck=(
        "Not carried out: {n} unblock. This number may still be blocked, and must not be.",
        "Not carried out: {n} unblocks. These numbers may still be blocked, and must not be.",
    ),
    open_unblocks=("Without a final outcome: {n} unblock.", "Without a final outcome: {n} unblocks."),
    numbers=("number", "numbers"),
    numbers_and_ranges=("number or range", "numbers and ranges"),
    blocked="{done} of {all} {noun} blocked ({share})",
    would_be_blocked="{done} of {all} {noun} would have been blocked ({share})",
    lifted=("{done} of {all} unblock carried out ({share})", "{done} of {all} unblocks carried out ({share})"),
    would_be_lifted=(
        "{done} of {all} unblock would have been carried out ({share})",
        "{done} of {all} unblocks would have been carried out ({share})",
    ),
    nothing_to_block="No number was to be blocked.",
    within=", within {time}",
    half_within=", half of them within {time}",
    the_rest="The other {n}: {parts}.",
    carried_over=("{n} is carried over from the month before.", "{n} are carried over from the month before."),
    outcomes="Changes and their outcomes",
    operations={"block": "Blocks", "change": "Changes", "unblock": "Unblocks"},
    figures={
        "carried": "Carried over from the month before",
        "received": "Received",
        "enforced": "Enforced",
        "nothing_to_do": "Nothing to do",
        "refused": "Refused",
        "set_aside": "Set aside",
        "overtaken": "Overtaken",
        "open": "Open",
    },
    half_done="Half of them done within",
    most_done="95\N{NO-BREAK SPACE}% of them done within",
    lifted_too="Enforced; for unblocks, lifted",
    explanations={
        "received": "A change is one number or one run of numbers.",
        "nothing_to_do": "Nothing to do: the number is inactive, belongs to another operator, or has a new owner.",
        "set_aside": "Set aside: failed too often, so it is not tried any more.",
        "overtaken": "Overtaken: something else was asked for the number before this was done.",
        "open": "Open: waits, or is tried again.",
    },
    times_note="Times run from the publication of the release, or from the end of an entry that ended by itself.",
    by_day="By day",
    day="day",
    blocked_short="blocked",
    lifted_short="lifted",
    chart="{blocked} blocked and {lifted} lifted, {period}, by day; at most {most} in one day",
    chart_table="The figures of the chart",
    by_category="Blocks by category",
    category="category",
    categories={},
    category_blocked="blocked",
    category_lifted="unblocks: lifted",
    waiting="waiting or failed",
    total="total",
    reasons="Why changes were refused or set aside",
    reason="reason, in the sink's words",
    change="change",
    outcome="outcome",
    count="count",
    kinds={"block": "block", "change": "change", "unblock": "unblock"},
    refused="refused",
    set_aside="set aside",
    no_reason="the sink does not say why",
    other_reasons="other reasons",
    notes="Receipts and notes",
    receipts_done="The exchange has acknowledged the receipts of every batch of the month.",
    receipts_waiting=(
        "The exchange has not acknowledged the receipts of {n} batch of the month yet.",
        "The exchange has not acknowledged the receipts of {n} batches of the month yet.",
    ),
    receipts_refused=("The exchange has refused {n} receipt.", "The exchange has refused {n} receipts."),
    repairs=(
        "Not counted above: {n} change that only put the sink right, because it did not hold what it had "
        "acknowledged (blocked again {blocked}, set right {changed}, taken out {lifted}, not done {not_done}, open "
        "{open}).",
        "Not counted above: {n} changes that only put the sink right, because it did not hold what it had "
        "acknowledged (blocked again {blocked}, set right {changed}, taken out {lifted}, not done {not_done}, open "
        "{open}).",
    ),
    own_decisions=(
        "Not counted above: {n} change that only the recipient's own decisions asked for.",
        "Not counted above: {n} changes that only the recipient's own decisions asked for.",
    ),
    signature="Signature",
    place_and_date="Place and date",
    name_and_position="Name and position",
    signed="Signature",
    months=(
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
    thousands=",",
    decimal=".",
    percent="{}\N{NO-BREAK SPACE}%",
    over_99="over 99\N{NO-BREAK SPACE}%",
    under_1="under 1\N{NO-BREAK SPACE}%",
    moment="{date}, {hour:02d}:{minute:02d} UTC",
    one_day="{date} (UTC)",
    days="{first}–{date} (UTC)",
    units=("d", "h", "min", "s"),
)

_INDONESIAN: Final = Texts(
    title="Laporan bulanan pemblokiran nomor: {month}",
    organisation="Organisasi",
    contact="Narahubung",
    period="Periode",
    feed="Daftar (feed)",
    sink="Sistem (sink)",
    releases="Rilis daftar",
    made="Dibuat pada",
    so_far="{days}, bulan berjalan",
    shadow="Sistem ini hanya uji coba (shadow): yang dicatat hanyalah tindakan yang seharusnya dilakukan. Tidak satu "
    "pun benar-benar dilaksanakan.",
    stuck=("Belum terlaksana: {n} pembukaan blokir. Nomor tersebut mungkin masih terblokir, padahal tidak boleh.",) * 2,
    open_unblocks=("Belum ada hasil akhir: {n} pembukaan blokir.",) * 2,
    numbers=("nomor",) * 2,
    numbers_and_ranges=("nomor dan rentang nomor",) * 2,
    blocked="{done} dari {all} {noun} telah diblokir ({share})",
    would_be_blocked="{done} dari {all} {noun} akan diblokir ({share})",
    lifted=("{done} dari {all} pembukaan blokir telah dilaksanakan ({share})",) * 2,
    would_be_lifted=("{done} dari {all} pembukaan blokir akan dilaksanakan ({share})",) * 2,
    nothing_to_block="Tidak ada nomor yang harus diblokir.",
    within=", dalam waktu {time}",
    half_within=", separuhnya dalam waktu {time}",
    the_rest="Sisanya, {n}: {parts}.",
    carried_over=("{n} di antaranya merupakan sisa dari bulan sebelumnya.",) * 2,
    outcomes="Perintah dan hasilnya",
    operations={"block": "Pemblokiran", "change": "Perubahan", "unblock": "Pembukaan blokir"},
    figures={
        "carried": "Sisa dari bulan sebelumnya",
        "received": "Diterima",
        "enforced": "Dilaksanakan",
        "nothing_to_do": "Tidak perlu tindakan",
        "refused": "Ditolak",
        "set_aside": "Gagal, tidak dicoba lagi",
        "overtaken": "Digantikan perintah lain",
        "open": "Belum selesai",
    },
    half_done="Separuhnya selesai dalam waktu",
    most_done="95% selesai dalam waktu",
    lifted_too="Dilaksanakan",
    explanations={
        "received": "Satu perintah menyangkut satu nomor atau satu rentang nomor.",
        "nothing_to_do": "Tidak perlu tindakan: nomor tidak aktif, milik operator lain, atau telah beralih ke pemilik "
        "baru.",
        "set_aside": "Gagal, tidak dicoba lagi: terlalu sering gagal.",
        "overtaken": "Digantikan perintah lain: ada perintah lain untuk nomor yang sama sebelum perintah ini selesai.",
        "open": "Belum selesai: menunggu, atau akan dicoba lagi.",
    },
    times_note="Waktu dihitung sejak rilis daftar diterbitkan, atau sejak masa berlaku entri berakhir dengan "
    "sendirinya.",
    by_day="Menurut hari",
    day="tanggal",
    blocked_short="diblokir",
    lifted_short="blokir dibuka",
    chart="{blocked} diblokir dan {lifted} blokir dibuka, {period}, menurut hari; paling banyak {most} dalam satu hari",
    chart_table="Angka dalam grafik",
    by_category="Pemblokiran menurut kategori",
    category="kategori",
    categories={
        "fraud": "penipuan",
        "impersonation": "penyamaran identitas",
        "phishing": "pengelabuan (phishing)",
        "account-takeover": "pengambilalihan akun",
        "gambling": "perjudian",
        "spam": "spam",
        "harassment": "pelecehan",
        "other": "lainnya",
    },
    category_blocked="diblokir",
    category_lifted="blokir dibuka",
    waiting="menunggu atau gagal",
    total="jumlah",
    reasons="Alasan penolakan dan kegagalan",
    reason="alasan menurut sistem pelaksana",
    change="perintah",
    outcome="hasil",
    count="jumlah",
    kinds={"block": "pemblokiran", "change": "perubahan", "unblock": "pembukaan blokir"},
    refused="ditolak",
    set_aside="gagal",
    no_reason="sistem tidak menyebutkan alasan",
    other_reasons="alasan lain",
    notes="Tanda terima dan catatan",
    receipts_done="Seluruh tanda terima bulan ini telah dikonfirmasi oleh sistem otoritas.",
    receipts_waiting=("Tanda terima untuk {n} kelompok perintah bulan ini belum dikonfirmasi oleh sistem otoritas.",)
    * 2,
    receipts_refused=("Sistem otoritas menolak {n} tanda terima.",) * 2,
    repairs=(
        "Tidak termasuk dalam angka di atas: {n} perbaikan, karena isi sistem pelaksana berbeda dari yang telah "
        "dikonfirmasinya (diblokir kembali {blocked}, disesuaikan {changed}, dikeluarkan {lifted}, tidak dilaksanakan "
        "{not_done}, belum selesai {open}).",
    )
    * 2,
    own_decisions=(
        "Tidak termasuk dalam angka di atas: {n} perintah yang hanya berasal dari keputusan penerima sendiri.",
    )
    * 2,
    signature="Pengesahan",
    place_and_date="Tempat dan tanggal",
    name_and_position="Nama dan jabatan",
    signed="Tanda tangan",
    months=(
        *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
        *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
    ),
    thousands=".",
    decimal=",",
    percent="{}%",
    over_99="lebih dari 99%",
    under_1="kurang dari 1%",
    moment="{date} pukul {hour:02d}.{minute:02d} UTC",
    one_day="{date} (UTC)",
    days="{first}–{date} (UTC)",
    units=("hari", "jam", "menit", "detik"),
)

TEXTS: Final[dict[Language, Texts]] = {"en": _ENGLISH, "id": _INDONESIAN}
