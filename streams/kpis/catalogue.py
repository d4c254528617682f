"""Which KPIs are there?  One row each: id, names, meaning, unit, formula, time basis, cuts.

Source of the definitions: docs/kpis.md.  The audit reads these rows too; it shares nothing else.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

Base = Literal["period", "cohort", "level"]
Unit = Literal["count", "ratio", "seconds", "money"]

_LETTERS = {
    "A": "all", "P": "pipeline", "S": "stage", "T": "team", "R": "rep", "RS": "rep_stage", "D": "product",
    "G": "region", "L": "lead_source", "C": "customer",
}  # fmt: skip

# The entity fields of each cut, in the order of the record key.
ENTITY_FIELDS: dict[str, tuple[str, ...]] = {
    "all": (),
    "pipeline": ("pipeline",),
    "stage": ("pipeline", "stage"),
    "team": ("team",),
    "rep": ("rep_id",),
    "rep_stage": ("rep_id", "pipeline", "stage"),
    "product": ("product",),
    "region": ("region",),
    "lead_source": ("lead_source",),
    "customer": ("customer_id",),
}


class Kpi(NamedTuple):
    """One row of the catalogue."""

    id: str
    en: str
    ru: str
    uk: str
    base: Base
    unit: Unit
    better: Literal["higher", "lower"]
    cuts: tuple[str, ...]
    formula: str
    meaning: str


def _kpi(  # noqa: PLR0913  # one row of a table
    kpi_id: str, en: str, ru: str, uk: str, base: Base, unit: Unit, better: Literal["higher", "lower"],
    cuts: str, formula: str, meaning: str,
) -> Kpi:  # fmt: skip
    return Kpi(kpi_id, en, ru, uk, base, unit, better, tuple(_LETTERS[one] for one in cuts.split()), formula, meaning)


CATALOGUE: tuple[Kpi, ...] = (
    # ---- funnel
    _kpi("leads_in_funnel", "Leads in the funnel", "Лиды в воронке", "Ліди у воронці", "level", "count", "higher",
         "A P S T R G L", "count", "deals whose present stage is of kind lead"),
    _kpi("active_deals", "Active deals", "Активные сделки", "Активні угоди", "level", "count", "higher",
         "A P S T R D G L", "count", "deals whose present stage is of kind lead or open"),
    _kpi("pipeline_value", "Pipeline value", "Стоимость воронки", "Вартість воронки", "level", "money", "higher",
         "A P S T R D G", "sum of amount", "amount of the active deals, per currency"),
    _kpi("new_leads", "New leads", "Новые лиды", "Нові ліди", "period", "count", "higher",
         "A P T R D G L", "count", "deals created"),
    _kpi("stage_entered", "Entries", "Входы", "Входи", "period", "count", "higher",
         "S RS", "count", "entries into the stage, each counts"),
    _kpi("stage_left", "Exits", "Выходы", "Виходи", "period", "count", "higher",
         "S RS", "count", "exits from the stage, each counts"),
    _kpi("stage_conversion", "Stage conversion", "Конверсия этапа", "Конверсія етапу", "cohort", "ratio", "higher",
         "S RS", "advanced / entered", "of the deals that first entered the stage, of kind lead or open, those that later reached a higher rank"),
    _kpi("lead_conversion", "Lead conversion", "Конверсия лидов в продажи", "Конверсія лідів у продажі", "cohort",
         "ratio", "higher", "A P T R D G L", "won / created", "of the deals created, those that are won"),
    _kpi("win_rate", "Win rate (close rate)", "Процент выигранных, коэффициент закрытия", "Відсоток виграних", "period",
         "ratio", "higher", "A P T R D G L", "won / (won + lost)", "of the deals closed, those won"),
    _kpi("won_lost_ratio", "Won to lost", "Выигранные к проигранным", "Виграні до програних", "period", "ratio",
         "higher", "A P T R", "won / lost", "deals won for each deal lost"),
    _kpi("time_in_stage", "Time in stage", "Время на этапе", "Час на етапі", "period", "seconds", "lower",
         "S RS", "p50 of exit - entry", "how long deals that left the stage had been in it"),
    _kpi("sales_cycle", "Sales cycle", "Цикл продаж", "Цикл продажу", "period", "seconds", "lower",
         "A P T R D G", "p50 of close - created, won", "from creation to the win"),
    _kpi("closed_cycle", "Closed cycle", "Цикл закрытия", "Цикл закриття", "period", "seconds", "lower",
         "A P T R D G", "p50 of close - created, won and lost", "from creation to the close, won or lost"),
    # ---- money
    _kpi("revenue", "Revenue", "Доход", "Дохід", "period", "money", "higher",
         "A P T R D G L C", "sum of amount of won", "amount of the deals won, per currency"),
    _kpi("avg_deal_size", "Average deal size", "Средний размер сделки", "Середній розмір угоди", "period", "money",
         "higher", "A P T R D G", "revenue / won with an amount", "mean amount of the deals won, per currency"),
    # ---- activity and response
    _kpi("activities", "Activities", "Активности", "Активності", "period", "count", "higher",
         "A T R RS", "count", "human activities of every type; stats by direction"),
    _kpi("calls", "Calls", "Звонки", "Дзвінки", "period", "count", "higher",
         "A T R RS", "count", "human calls; stats by direction"),
    _kpi("emails", "E-mails", "Письма", "Листи", "period", "count", "higher",
         "A T R RS", "count", "human e-mails; stats by direction"),
    _kpi("meetings", "Meetings", "Встречи", "Зустрічі", "period", "count", "higher",
         "A T R RS", "count", "human meetings; stats by direction"),
    _kpi("messages", "Messages", "Сообщения", "Повідомлення", "period", "count", "higher",
         "A T R RS", "count", "human messages; stats by direction"),
    _kpi("proposals", "Proposals", "Предложения", "Пропозиції", "period", "count", "higher",
         "A T R RS", "count", "human proposals; stats by direction"),
    _kpi("tasks", "Tasks", "Задачи", "Завдання", "period", "count", "higher",
         "A T R RS", "count", "human tasks; stats by direction"),
    _kpi("connect_rate", "Connect rate", "Доля дозвонов", "Частка додзвонів", "period", "ratio", "higher",
         "A T R RS", "connected outbound calls / outbound calls", "of the human outbound calls, those connected"),
    _kpi("talk_time", "Talk time", "Время разговоров", "Час розмов", "period", "seconds", "higher",
         "A T R RS", "sum of duration", "duration of the human calls; n = calls with a duration"),
    _kpi("first_response_time", "First response", "Время первого ответа", "Час першої відповіді", "cohort", "seconds",
         "lower", "A P T R L", "p50 of first outbound touch - creation", "n = answered; deals created in the window"),
    _kpi("first_response_business", "First response, business time", "Время первого ответа, рабочее",
         "Час першої відповіді, робочий", "cohort", "seconds", "lower", "A P T R L",
         "p50 of first outbound touch - creation in business seconds", "n = answered; business hours only"),
    _kpi("first_response_answered", "Answered", "Доля отвеченных", "Частка з відповіддю", "cohort", "ratio", "higher",
         "A P T R L", "answered / created", "of the deals created, those that got an outbound touch"),
    _kpi("first_response_within_sla", "Answered within SLA", "Ответ в срок", "Відповідь вчасно", "cohort", "ratio",
         "higher", "A P T R L", "answered within the SLA / created", "in business seconds where hours are configured"),
    _kpi("waiting_leads", "Waiting leads", "Лиды без ответа", "Ліди без відповіді", "level", "count", "lower",
         "A P T R L", "count", "active deals without an outbound touch since creation"),
    _kpi("oldest_waiting", "Oldest waiting lead", "Самый старый лид без ответа", "Найстаріший лід без відповіді",
         "level", "seconds", "lower", "A P T R L", "watermark - creation of the oldest", "n = waiting leads"),
)  # fmt: skip

BY_ID: dict[str, Kpi] = {kpi.id: kpi for kpi in CATALOGUE}

# Whose facts an alert rule of a kind judges, in the cuts that the KPI has; while one of those with a cut is on, they are made.
JUDGED_BY: dict[str, tuple[str, ...]] = {
    "conversion_drop": ("stage_conversion", "lead_conversion"),
    "response_rise": (
        "first_response_time", "first_response_business", "first_response_answered", "first_response_within_sla",
    ),
}  # fmt: skip
