adsl <- dataset("adsl")
for (rule in seq_len(@RULES@)) {
  flag <- adsl[[sprintf("RESP%02dFL", rule)]]
  place <- paste0("/results/", rule - 1)
  show(paste0(place, "/responders"), sum(is(flag, "Y")))
  show(paste0(place, "/evaluable"), sum(!is.na(flag)))
  show_rate(place, sum(is(flag, "Y")), sum(!is.na(flag)))
  show_rate(paste0(place, "/all_treated"), sum(is(flag, "Y") & is(adsl$SAFFL, "Y")), sum(is(adsl$SAFFL, "Y")))
}
