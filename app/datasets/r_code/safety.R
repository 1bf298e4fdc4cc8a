adsl <- dataset("adsl")
adae <- dataset("adae")
treated <- adsl[is(adsl$SAFFL, "Y"), ]
related <- adae[is(adae$TRTEMFL, "Y") & is(adae$ARELFL, "Y"), ]
n <- nrow(treated)
k <- length(unique(related$USUBJID))
show("/results/0/safety", n)
show("/results/0/patients_with_event", k)
show_rate("/results/0", k, n)
show("/results/0/events", nrow(related))
show("/results/0/patients_with_serious_event", length(unique(related$USUBJID[is(related$AESER, "Y")])))
show("/results/0/serious_events", sum(is(related$AESER, "Y")))
exposures <- list(
  patient = n, infusion = sum(number(treated$INFUSN)), course = sum(number(treated$COURSEN)),
  `patient-year` = sum(number(treated$FUPDAYS)) / 365.25
)
for (unit in names(exposures))
  show_events(paste0("/rates/of=events,per.unit=", unit, "/per"), nrow(related), exposures[[unit]])
