adeff <- dataset("adeff")
adeff <- adeff[adeff$PARAMCD == "LNCK" & is(adeff$ANL01FL, "Y") & is(adeff$EFFFL, "Y") & !is.na(adeff$CHG), ]
at <- function(week) {
  rows <- adeff[is(adeff$AVISITN, as.character(week)), ]
  setNames(number(rows$CHG), rows$USUBJID)
}
start <- at(@BEFORE_WEEK@)
end <- at(@AFTER_WEEK@)
who <- intersect(names(start), names(end))
before <- -start[who]
after <- end[who]
place <- "/results/0"
show(paste0(place, "/n"), length(who))
show_mean(paste0(place, "/before"), before)
show(paste0(place, "/before/geometric_mean_ratio"), if (length(who)) exp(mean(before)))
show_mean(paste0(place, "/after"), after)
show(paste0(place, "/after/geometric_mean_ratio"), if (length(who)) exp(mean(after)))
show_change(paste0(place, "/difference"), after - before, "one_sample_t")
show(paste0(place, "/difference/ratio_of_ratios"), if (length(who)) exp(mean(after - before)))
show(paste0(place, "/difference/tests/1/statistic"), signed_rank(after - before)$statistic)
show(paste0(place, "/difference/tests/1/p"), signed_rank(after - before)$p)
