adsl <- dataset("adsl")
adae <- dataset("adae")
treated <- adsl[is(adsl$SAFFL, "Y"), ]
emergent <- adae[is(adae$TRTEMFL, "Y"), ]
related <- emergent[is(emergent$ARELFL, "Y"), ]
n <- nrow(treated)
k <- length(unique(related$USUBJID))
place <- "/results/0"
show(paste0(place, "/safety"), n)
show(paste0(place, "/patients_with_reaction"), k)
show_rate(place, k, n)
show(paste0(place, "/patients_with_event"), length(unique(emergent$USUBJID)))
show(paste0(place, "/events"), nrow(emergent))
show(paste0(place, "/related_events"), nrow(related))
show(paste0(place, "/patients_with_serious_event"), length(unique(emergent$USUBJID[is(emergent$AESER, "Y")])))
show(paste0(place, "/serious_events"), sum(is(emergent$AESER, "Y")))
show(paste0(place, "/serious_reactions"), sum(is(related$AESER, "Y")))
show_events(paste0(place, "/per_infusion"), nrow(related), sum(number(treated$INFUSN)))
show_events(paste0(place, "/per_course"), nrow(related), sum(number(treated$COURSEN)))
show_events(paste0(place, "/per_patient_year"), nrow(related), sum(number(treated$FUPDAYS)) / 365.25)
