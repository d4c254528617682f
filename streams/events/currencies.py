"""Which currencies are there, and how many digits has the minor unit of each?

Source: ISO 4217 list one (active codes) of the maintenance agency SIX, published 2026-01-01.  The thirteen codes
whose minor unit is "N.A." there (metals, XDR, XTS, XXX and the like) are left out: money in them has no minor unit.
Then list three (codes that were withdrawn) of the same day, from 2000 on, as older events are not accepted; without XFO and
XFU, which have no minor unit either.  It names no digits: they are those of java.util.Currency (JDK 25), and 2 for the seven
codes which that does not know (AON AOR CHC ECS ECV GHP TJR), as CLDR 49 says.
"""

from __future__ import annotations

_ACTIVE = {
    0: "BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF",
    2: (
        "AED AFN ALL AMD AOA ARS AUD AWG AZN BAM BBD BDT BMD BND BOB BOV BRL BSD BTN BWP BYN BZD CAD CDF CHE CHF CHW "
        "CNY COP COU CRC CUP CVE CZK DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GTQ GYD HKD HNL HTG HUF "
        "IDR ILS INR IRR JMD KES KGS KHR KPW KYD KZT LAK LBP LKR LRD LSL MAD MDL MGA MKD MMK MNT MOP MRU MUR MVR MWK "
        "MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD PAB PEN PGK PHP PKR PLN QAR RON RSD RUB SAR SBD SCR SDG SEK SGD SHP "
        "SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TOP TRY TTD TWD TZS UAH USD USN UYU UZS VED VES WST XAD XCD XCG "
        "YER ZAR ZMW ZWG"
    ),
    3: "BHD IQD JOD KWD LYD OMR TND",
    4: "CLF UYW",
}

_WITHDRAWN = {
    0: "ADP BEF BYB BYR ESP GRD ITL LUF MGF PTE ROL TPE TRL",
    2: (
        "AFA ANG AON AOR ATS AYM AZM BGL BGN CHC CSD CUC CYP DEM ECS ECV EEK FIM FRF GHC GHP HRK IEP LTL LVL MRO MTL "
        "MZM NLG RUR SDD SIT SKK SLL SRG STD TJR TMM USS VEB VEF YUM ZMK ZWD ZWL ZWN ZWR"
    ),
}

MINOR_DIGITS: dict[str, int] = {
    code: digits for table in (_ACTIVE, _WITHDRAWN) for digits, codes in table.items() for code in codes.split()
}
